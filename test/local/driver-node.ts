/** Does what driver.ts does, in a process in which nobody has changed the driver: drizzle does. Usage: driver-node.ts URL PROVIDER */
import type { Provider } from '../../local/gateway-routes.ts';
import { useDriver } from './driver.ts';

const [url = '', provider] = process.argv.slice(2);
process.stdout.write(JSON.stringify(await useDriver(url, provider as Provider)));
