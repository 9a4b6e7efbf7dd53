import { type FullQueryResults, neon, neonConfig } from '@neondatabase/serverless';
import { type ConnectionTarget, endpointsOf } from './connection-string.ts';
import type { HttpTransport, Statement, TransactionOptions } from './transport.ts';

/** The driver decodes nothing: values.ts does, for every transport. */
const TEXT_ONLY = { types: { getTypeParser: () => (text: string) => text } };

const connect = ({ user, password, host, port, database }: ConnectionTarget) => {
  const [name, secret, path] = [user, password, database].map(encodeURIComponent);
  const authority = host.includes(':') ? `[${host}]` : host;
  return neon(`postgresql://${name}:${secret}@${authority}:${port}/${path}`, { arrayMode: true, fullResults: true });
};

/** Made once for each target: the driver parses the URL that it is given. */
const connected = new WeakMap<ConnectionTarget, ReturnType<typeof connect>>();

/** The Neon driver's HTTP mode: one request a query or batch, nothing kept open. */
export function neonHttp(): HttpTransport {
  return {
    name: 'http',
    async send(target, statements, options, signal) {
      const sql = connected.get(target) ?? connect(target);
      connected.set(target, sql);
      const start = (): Promise<FullQueryResults<true>[]> => {
        const query = ({ text, params }: Statement, more = {}) =>
          sql.query(text, [...params], { ...TEXT_ONLY, ...more });
        const fetchOptions = { signal };
        if (options) {
          return sql.transaction<true, true>(
            statements.map((s) => query(s)),
            { ...batchOptions(options), fetchOptions },
          );
        }
        return Promise.all(statements.map((statement) => query(statement, { fetchOptions }).then((result) => result)));
      };
      // The driver has one endpoint setting for the whole process and reads it before its first await: set, started and
      // put back in one go, requests to different providers do not meet.
      const previous = neonConfig.fetchEndpoint;
      neonConfig.fetchEndpoint = () => endpointsOf(target).http;
      let request: ReturnType<typeof start>;
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
    },
  };
}

/** The options under the driver's names. It ignores any other spelling of a level without a word. */
function batchOptions({ isolationLevel, accessMode, deferrable }: TransactionOptions) {
  const level = isolationLevel?.replace(/(?:^| )(\w)/g, (_, letter: string) => letter.toUpperCase());
  return {
    ...(level && { isolationLevel: level as 'Serializable' }),
    ...(accessMode && { readOnly: accessMode === 'read only' }),
    ...(deferrable !== undefined && { deferrable }),
  };
}
