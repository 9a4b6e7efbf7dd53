import { type HTTPTransactionOptions, neon, neonConfig } from '@neondatabase/serverless';
import { endpointsOf } from './connection-string.ts';
import type { HttpTransport, TransactionOptions } from './transport.ts';

/** The driver decodes nothing: values.ts does, for every transport. */
const types = { getTypeParser: () => (text: string) => text };

/** The Neon driver's HTTP mode: one request a query or batch, nothing kept open. */
export function neonHttp(): HttpTransport {
  return {
    async send(target, statements, options, signal) {
      const { address, http } = endpointsOf(target);
      const [user, password, database] = [target.user, target.password, target.database].map(encodeURIComponent);
      const url = `postgresql://${user}:${password}@${address}/${database}`;
      const sql = neon(url, { arrayMode: true, fullResults: true, fetchOptions: { signal } });
      const queries = statements.map(({ text, params }) => sql.query(text, [...params], { types }));
      const settings = options && driverOptions(options);
      // The driver has one endpoint setting for the whole process, and reads it before its first await; nothing throws
      // until then. Set, started and put back in one go, requests to different providers do not meet.
      const { fetchEndpoint } = neonConfig;
      neonConfig.fetchEndpoint = () => http;
      const request = settings
        ? sql.transaction(queries, settings)
        : Promise.all(queries.map((query) => query.then(null))); // sends it: the driver's queries are lazy
      neonConfig.fetchEndpoint = fetchEndpoint;
      return request.catch((error: unknown) => {
        throw signal.aborted ? signal.reason : error;
      });
    },
  };
}

/** The options under the driver's names. It ignores any other spelling of a level without a word. */
function driverOptions({ isolationLevel, accessMode, deferrable }: TransactionOptions) {
  const level = isolationLevel?.replace(/ ?\b(\w)/g, (_, letter: string) => letter.toUpperCase());
  const options = { isolationLevel: level, readOnly: accessMode === 'read only', deferrable };
  return options as HTTPTransactionOptions<true, true>;
}
