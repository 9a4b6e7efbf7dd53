/** A Worker that does what driver.ts does, at the gateway that its variables name. */
import type { Provider } from '../../local/gateway-routes.ts';
import { useDriver } from './driver.ts';

export default {
  async fetch(_request: Request, { DATABASE_URL, PROVIDER }: { DATABASE_URL: string; PROVIDER: Provider }) {
    return Response.json(await useDriver(DATABASE_URL, PROVIDER));
  },
};
