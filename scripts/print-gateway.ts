import { styleText } from 'node:util';
import type { Gateway } from '../local/gateway.ts';
import type { Provider } from '../local/gateway-routes.ts';

export interface ConnectionStrings {
  direct: string;
  pooled: string;
  replica: string | undefined;
}

/** How another project makes its driver reach the gateway: the ports are in the connection strings. */
const DRIVER_SETTINGS: Record<Provider, string> = {
  neon: `neonConfig.wsProxy = (host, port) => \`\${host}:\${port}/v2\`;
neonConfig.pipelineConnect = 'password';`,
  planetscale: `neonConfig.wsProxy = (host, port) => \`\${host}:\${port}/v2?address=\${host}:\${port}\`;
neonConfig.pipelineConnect = false;`,
};

/** @param port used if none is given: the driver's `poolQueryViaFetch` leaves it out */
const driverSettings = (provider: Provider, port: number) => `import { neonConfig } from '@neondatabase/serverless';

neonConfig.fetchEndpoint = (host, port) => \`http://\${host}:\${port || ${port}}/sql\`;
neonConfig.useSecureWebSocket = false;
${DRIVER_SETTINGS[provider]}`;

/** Prints how to use a gateway; ends with a line that begins with `ready`. */
export function printGateway(
  gateway: Gateway,
  provider: Provider,
  { direct, pooled, replica }: ConnectionStrings,
): void {
  const rows = [
    ['Direct', direct],
    ['Pooled', pooled],
    ...(replica === undefined ? [] : [['Replica', replica]]),
    ['Control', `curl http://127.0.0.1:${gateway.controlPort}/stats`],
    ['', `curl http://127.0.0.1:${gateway.controlPort}/simulate -d '{"rtt": 40}'`],
  ];
  console.log();
  for (const [name = '', value = ''] of rows) console.log(`  ${styleText('bold', name.padEnd(9))}${value}`);
  console.log(`\n${driverSettings(provider, gateway.port).replace(/^(?=.)/gm, '  ')}\n`);
  console.log(`ready ${gateway.url}`);
}
