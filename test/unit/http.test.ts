import { neonConfig } from '@neondatabase/serverless';
import { afterEach, expect, it } from 'vitest';
import { parseConnectionString } from '../../src/db/connection-string.ts';
import { neonHttp } from '../../src/db/http.ts';

afterEach(() => {
  neonConfig.fetchFunction = undefined;
});

it('requests to several providers at once reach their own endpoints, although the driver has one setting for all', async () => {
  const providers = {
    'https://api.eu-central-1.aws.neon.tech/sql': 'postgresql://app:pw@ep-a-1.eu-central-1.aws.neon.tech/neon',
    'https://eu-central.horizon.psdb.cloud/sql': 'postgresql://app.b:pw@eu-central.horizon.psdb.cloud:6432/planetscale',
    'http://127.0.0.1:4444/sql': 'postgresql://app:pw@127.0.0.1:4444/local',
  };
  const reached: string[] = [];
  // The network ends here: what is looked at is where each request would have gone, and with whose credentials.
  neonConfig.fetchFunction = async (url: string, { headers }: { headers: Record<string, string> }) => {
    reached.push(`${url} for ${new URL(headers['Neon-Connection-String'] ?? '').pathname.slice(1)}`);
    const result = { command: 'SELECT', rowCount: 0, fields: [], rows: [] };
    return Response.json({ ...result, results: [result, result] });
  };
  const before = neonConfig.fetchEndpoint;
  const http = neonHttp();
  const expected: string[] = [];
  const requests: Promise<unknown>[] = [];
  for (let i = 0; i < 50; i++) {
    for (const [endpoint, url] of Object.entries(providers)) {
      const target = parseConnectionString(url);
      const { signal } = new AbortController();
      const statement = { text: 'select 1', params: [] };
      requests.push(http.send(target, i % 2 ? [statement, statement] : [statement], signal));
      expected.push(`${endpoint} for ${target.database}`);
    }
  }
  await Promise.all(requests);
  expect(reached.toSorted()).toEqual(expected.toSorted());
  expect(neonConfig.fetchEndpoint).toBe(before);
});
