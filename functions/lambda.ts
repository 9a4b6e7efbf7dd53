import { handle } from 'hono/aws-lambda';
import { parseConfig } from '../src/config.ts';
import { createApp } from '../src/create-app.ts';
import { CARRIED, serverTransports } from '../src/server-transports.ts';

const config = parseConfig(process.env, CARRIED);
const { app } = createApp(config, {
  transports: serverTransports(config.transport),
  sockets: 'instance',
});

export const handler = handle(app);
