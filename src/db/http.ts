import { neon, neonConfig } from '@neondatabase/serverless';
import { type ConnectionTarget, endpointsOf } from './connection-string.ts';
import { toDatabaseError } from './error.ts';
import type { HttpTransport } from './transport.ts';

/** The driver decodes nothing: values.ts does, for every transport. */
const types = { getTypeParser: () => (text: string) => text };

/** The Neon driver's HTTP mode: one request for each query or batch, nothing kept open. */
export function neonHttp(): HttpTransport {
  /** The driver's query functions, one per target: creating one takes a fiftieth of a request's CPU time. */
  const functions = new WeakMap<ConnectionTarget, ReturnType<typeof queryFunction>>();
  return {
    async send(target, statements, signal) {
      const sql = functions.get(target) ?? queryFunction(target);
      functions.set(target, sql);
      const options = { types, fetchOptions: { signal } };
      const queries = statements.map(({ text, params }) => sql.query(text, [...params], options));
      // The driver has one endpoint setting for the whole process, and reads it before its first await; nothing throws
      // until then. Because it is set and restored synchronously, requests to different providers do not interfere.
      const { fetchEndpoint } = neonConfig;
      neonConfig.fetchEndpoint = sql.endpoint;
      // The driver's queries are lazy: `then` sends one.
      const request =
        queries.length > 1 ? sql.transaction(queries, options) : Promise.all(queries.map((query) => query.then(null)));
      neonConfig.fetchEndpoint = fetchEndpoint;
      const results = await request.catch((error: Error) => {
        signal.throwIfAborted();
        // Neon's proxy says with status 500 why the server refuses connections; the driver parses only the body of a 400.
        const refusal = /^Server error .HTTP status 500.: ({.*"severity":"FATAL".*)/.exec(error.message)?.[1];
        // This line also throws if the body has another shape: a failure like any other.
        throw toDatabaseError(refusal ? JSON.parse(refusal) : error, 'http', true);
      });
      if (results.length !== statements.length) throw new Error('the server lost count');
      return results;
    },
  };
}

function queryFunction(target: ConnectionTarget) {
  const { address, http } = endpointsOf(target);
  const [user, password, database] = [target.user, target.password, target.database].map(encodeURIComponent);
  return Object.assign(
    neon(`postgresql://${user}:${password}@${address}/${database}`, { arrayMode: true, fullResults: true }),
    { endpoint: http },
  );
}
