import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { type Gateway, startGateway } from '../../local/gateway.ts';
import { createEmptyDatabase, type TestDatabase } from '../database.ts';
import { CREATE_NOTES } from '../db/ways.ts';

// The driver as it comes from npm, without a Node API in its reach in workerd: the same must come of it in both.

const nodeScript = fileURLToPath(new URL('driver-node.ts', import.meta.url));
let script: string;

beforeAll(async () => {
  const entry = fileURLToPath(new URL('driver-worker.ts', import.meta.url));
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: 'esm', write: false });
  script = outputFiles[0]?.text ?? '';
});

describe.each([
  ['neon', ''],
  ['planetscale', '.main'],
] as const)('the driver at a gateway in place of %s', (provider, branch) => {
  let gateway: Gateway;
  let test: TestDatabase;
  let url: string;
  let inNode: Record<string, unknown>;

  beforeAll(async () => {
    const upstream = { host: '127.0.0.1', port: inject('stack').postgresPort };
    gateway = await startGateway({ upstream, port: 0, provider });
    test = await createEmptyDatabase(gateway.port);
    await test.query(CREATE_NOTES);
    const named = new URL(test.url);
    named.username += branch;
    url = named.href;
    const { stdout } = await promisify(execFile)(process.execPath, [nodeScript, url, provider], { maxBuffer: 2 ** 26 });
    inNode = JSON.parse(stdout) as typeof inNode;
  });

  afterAll(async () => {
    await test.close();
    await gateway.close();
  });

  it('works in Node', () => {
    const row = {
      int: 1,
      bigint: '9007199254740993',
      numeric: '1.10',
      bool: true,
      list: ['a"b', null, 'c,d', 'ü☃'],
      json: { a: [1, null] },
      time: '2026-11-22T12:00:00.000Z',
      nothing: null,
    };
    const constraint = { code: '23505', severity: 'ERROR', table: 'notes', constraint: 'notes_pkey' };
    expect(inNode).toMatchObject({
      tagged: [{ three: 3, list: ['a', null] }],
      query: [row],
      full: { command: 'SELECT', rowCount: 1, rowAsArray: true },
      httpError: { name: 'NeonDbError', ...constraint },
      transaction: [[{ level: 'serializable' }], [{ read_only: 'on' }], [{ deferrable: 'on' }]],
      transactionError: { code: '22012' },
      passwordError: { message: expect.stringMatching(/^password authentication failed for user /) },
      pool: [[{ n: 1 }], [{ n: 2 }], [{ n: 3 }]],
      client: { command: 'SELECT', rowCount: 1, rows: [row] },
      inTransaction: [{ level: 'repeatable read' }],
      clientError: constraint,
      aborted: { code: '25P02' },
      committed: 'ROLLBACK',
      said: [{ message: 'said', severity: 'WARNING' }],
      heard: { channel: 'heard', payload: 'hello' },
      large: 2_000_000,
      refused: { code: provider === 'neon' ? 'XX000' : '28P01' },
    });
  });

  it('has the same results in workerd', async () => {
    const miniflare = new Miniflare(
      convertV4MiniflareOptions({
        script,
        modules: true,
        compatibilityDate: '2026-10-01',
        bindings: { DATABASE_URL: url, PROVIDER: provider },
        cf: false,
      }),
    );
    try {
      const response = await fetch(await miniflare.ready);
      expect(await response.json()).toEqual(inNode);
    } finally {
      await miniflare.dispose();
    }
  });
});
