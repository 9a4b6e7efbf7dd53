import { serve } from '@hono/node-server';

/** Serves an API to this machine only, on PORT, and says so on standard output. */
export function serveLocally(fetch: (request: Request) => Response | Promise<Response>): void {
  serve({ fetch, hostname: '127.0.0.1', port: Number(process.env['PORT'] ?? 8787) }, ({ port }) => {
    console.log(`listening on port ${port}`);
  });
}
