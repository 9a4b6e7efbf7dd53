import { neon, neonConfig } from '@neondatabase/serverless';
import { type ConnectionTarget, endpointsOf } from './connection-string.ts';
import { toDatabaseError } from './error.ts';
import type { HttpTransport } from './transport.ts';

/** The driver decodes nothing: values.ts does, for every transport. */
const types = { getTypeParser: () => (text: string) => text };

/** The Neon driver's HTTP mode: one request a query or batch, nothing kept open. */
export function neonHttp(): HttpTransport {
  /** The driver's query function, once for each target: making it takes a fiftieth of a request's CPU time. */
  const connected = new WeakMap<ConnectionTarget, ReturnType<typeof connect>>();
  return {
    async send(target, statements, signal) {
      const sql = connected.get(target) ?? connect(target);
      connected.set(target, sql);
      const queries = statements.map(({ text, params }) =>
        sql.query(text, [...params], { types, fetchOptions: { signal } }),
      );
      // The driver has one endpoint setting for the whole process, and reads it before its first await; nothing throws
      // until then. Set, started and put back in one go, requests to different providers do not meet.
      const { fetchEndpoint } = neonConfig;
      neonConfig.fetchEndpoint = sql.endpoint;
      const request =
        queries.length > 1
          ? sql.transaction(queries, { fetchOptions: { signal } })
          : Promise.all(queries.map((query) => query.then(null))); // sends it: the driver's queries are lazy
      neonConfig.fetchEndpoint = fetchEndpoint;
      const results = await request.catch((error: Error) => {
        signal.throwIfAborted();
        // Neon's proxy says with status 500 why the server lets nobody in; the driver reads the body of a 400 alone.
        const refusal = /^Server error .HTTP status 500.: ({.*"severity":"FATAL".*)/.exec(error.message)?.[1];
        // Should that throw, at a body of other types: it is a failure like another.
        throw toDatabaseError(refusal ? JSON.parse(refusal) : error, 'http', true);
      });
      if (results.length !== statements.length) throw new Error('the server lost count');
      return results;
    },
  };
}

function connect(target: ConnectionTarget) {
  const { address, http } = endpointsOf(target);
  const [user, password, database] = [target.user, target.password, target.database].map(encodeURIComponent);
  return Object.assign(
    neon(`postgresql://${user}:${password}@${address}/${database}`, { arrayMode: true, fullResults: true }),
    { endpoint: http },
  );
}
