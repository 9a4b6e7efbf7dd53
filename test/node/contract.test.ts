import { parseConfig } from '../../src/config.ts';
import { createApp } from '../../src/create-app.ts';
import { serverTransports } from '../../src/server-transports.ts';
import { describeContract } from '../contract.ts';

describeContract('Node', async ({ databaseUrl, apiToken }) => {
  const { app, database } = createApp(parseConfig({ DATABASE_URL: databaseUrl, API_TOKEN: apiToken }), {
    transports: await serverTransports('neon'),
    sockets: 'instance',
  });
  return {
    fetch: async (path, init) => app.request(path, init),
    close: () => database.close(),
  };
});
