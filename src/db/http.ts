import { type FullQueryResults, neon, neonConfig } from '@neondatabase/serverless';
import type { ConnectionTarget } from './connection-string.ts';
import { httpEndpoint } from './endpoints.ts';
import type { HttpTransport, StatementResult, TransactionOptions } from './transport.ts';

/** The driver decodes nothing: values.ts does, for every transport. */
const textOnly = { types: { getTypeParser: () => (text: string) => text } };

const connect = (target: ConnectionTarget) => neon(driverUrl(target), { arrayMode: true, fullResults: true });

/** Made once for each target: the driver parses the URL that it is given. */
const connected = new WeakMap<ConnectionTarget, ReturnType<typeof connect>>();

function driverFor(target: ConnectionTarget): ReturnType<typeof connect> {
  const driver = connected.get(target) ?? connect(target);
  connected.set(target, driver);
  return driver;
}

/** The driver's names for the isolation levels. It ignores any other spelling without a word. */
const ISOLATION_LEVELS = {
  'read uncommitted': 'ReadUncommitted',
  'read committed': 'ReadCommitted',
  'repeatable read': 'RepeatableRead',
  serializable: 'Serializable',
} as const;

/** The Neon driver's HTTP mode: one request a query or batch, nothing kept open. */
export function neonHttp(): HttpTransport {
  return {
    name: 'http',

    async query(target, { text, params }, signal) {
      const query = driverFor(target).query(text, [...params], { ...textOnly, fetchOptions: { signal } });
      return toResult(await send(target, signal, () => query.then((result) => result)));
    },

    async batch(target, statements, options, signal) {
      const sql = driverFor(target);
      const queries = statements.map(({ text, params }) => sql.query(text, [...params], textOnly));
      const results = await send(target, signal, () =>
        sql.transaction<true, true>(queries, { ...batchOptions(options), fetchOptions: { signal } }),
      );
      return results.map(toResult);
    },
  };
}

/**
 * Starts a request to the target's endpoint. The driver has one endpoint setting for the whole process and reads it
 * before its first await: set, started and put back in one go, requests to different providers do not meet.
 */
async function send<T>(target: ConnectionTarget, signal: AbortSignal, start: () => Promise<T>): Promise<T> {
  const previous = neonConfig.fetchEndpoint;
  neonConfig.fetchEndpoint = () => httpEndpoint(target);
  let request: Promise<T>;
  try {
    request = start();
  } finally {
    neonConfig.fetchEndpoint = previous;
  }
  try {
    return await request;
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  }
}

function driverUrl({ user, password, host, port, database }: ConnectionTarget): string {
  const authority = `${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host.includes(':') ? `[${host}]` : host}`;
  return `postgresql://${authority}:${port}/${encodeURIComponent(database)}`;
}

function batchOptions({ isolationLevel, accessMode, deferrable }: TransactionOptions) {
  return {
    ...(isolationLevel && { isolationLevel: ISOLATION_LEVELS[isolationLevel] }),
    ...(accessMode && { readOnly: accessMode === 'read only' }),
    ...(deferrable !== undefined && { deferrable }),
  };
}

function toResult({ command, rowCount, fields, rows }: FullQueryResults<true>): StatementResult {
  return { command, rowCount, fields, rows };
}
