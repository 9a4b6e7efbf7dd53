import { CARRIED, serverTransports } from '../../src/server-transports.ts';
import { parseConfig } from '../../src/config.ts';
import { createApp } from '../../src/create-app.ts';
import type { Target } from '../contract.ts';

/** The app in this process, as an entry for servers makes it. */
export async function startApp(env: Record<string, string>): Promise<Target> {
  const config = parseConfig(env, CARRIED);
  const { app, database } = createApp(config, {
    transports: await serverTransports(config.transport),
    sockets: 'instance',
  });
  return {
    fetch: async (path, init) => app.request(path, init),
    close: () => database.close(),
  };
}
