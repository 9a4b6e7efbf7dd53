import { serve } from '@hono/node-server';

/** Serves an API to this machine only, on PORT, and says so on standard output. */
export function serveLocally(fetch: (request: Request) => Response | Promise<Response>): void {
  const logged = async (request: Request) => {
    try {
      return await fetch(request);
    } catch (error) {
      console.error(error); // as the platforms do: @hono/node-server answers 500, and says nothing
      throw error;
    }
  };
  serve({ fetch: logged, hostname: '127.0.0.1', port: Number(process.env['PORT'] ?? 8787) }, ({ port }) => {
    console.log(`listening on port ${port}`);
  });
}
