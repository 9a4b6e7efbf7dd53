import type { env } from 'cloudflare:workers';
import { parseConfig } from '../src/config.ts';
import { parseConnectionString } from '../src/db/connection-string.ts';
import { tcp } from '../src/db/tcp.ts';
import type { SocketTransport } from '../src/db/transport.ts';

type Hyperdrive = NonNullable<(typeof env)['HYPERDRIVE']>;

/** Stands for the binding, which says where it leads during requests, but not while the Worker starts. */
const BINDING = 'hyperdrive.invalid';

/**
 * The database over TCP through Hyperdrive, which pools connections near the database and keeps no session state. Sessions go
 * to the host of DATABASE_URL_UNPOOLED or DATABASE_URL itself.
 */
export function connect(variables: typeof env) {
  const { HYPERDRIVE: binding } = variables;
  if (!binding) throw new Error('There is no Hyperdrive: wrangler.toml must bind one as HYPERDRIVE.');
  const config = parseConfig(variables, ['tcp']);
  const { url, unpooledUrl = url, replicaUrl } = config.database;
  return {
    config: {
      ...config,
      database: { url: `postgresql://hyperdrive:hyperdrive@${BINDING}/hyperdrive`, unpooledUrl, replicaUrl },
    },
    transports: { tcp: hyperdrive(binding) },
  };
}

function hyperdrive(binding: Hyperdrive): SocketTransport {
  const direct = tcp();
  const pooled = tcp({ tls: false }); // traffic to Hyperdrive does not leave the machine
  return {
    open(target, connectMs) {
      if (target.host !== BINDING) return direct.open(target, connectMs);
      const [url = ''] = binding.connectionString.split('?'); // drops sslmode=disable, which is refused elsewhere
      return pooled.open(parseConnectionString(url), connectMs);
    },
  };
}
