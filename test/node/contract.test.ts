import { createApp } from '../../src/create-app.ts';
import { neonHttp } from '../../src/db/http.ts';
import { neonWebSocket } from '../../src/db/websocket.ts';
import { describeContract } from '../contract.ts';

describeContract('Node', async ({ databaseUrl, apiToken }) => {
  const { app, database } = createApp(
    { apiToken, database: { url: databaseUrl, unpooledUrl: undefined } },
    { transports: { http: neonHttp(), websocket: neonWebSocket() }, sockets: 'instance' },
  );
  return {
    fetch: async (path, init) => app.request(path, init),
    close: () => database.close(),
  };
});
