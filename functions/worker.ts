import { env } from 'cloudflare:workers';
import { createApp } from '../src/create-app.ts';
// Through Hyperdrive (see wrangler.toml): './worker-hyperdrive.ts'.
import { connect } from './worker-neon.ts';

const { RATE_LIMITER: limiter } = env;
const { config, transports } = connect(env);
const { app } = createApp(config, {
  transports,
  sockets: 'request', // a Worker's socket belongs to the request that opened it
  waitUntil: (c, promise) => c.executionCtx.waitUntil(promise),
  // By address: the caller is not known before the token is checked, and guessing tokens should be slow as well.
  rateLimit: limiter && { limiter, key: (c) => c.req.header('CF-Connecting-IP') ?? '', period: 60 },
});

export default app;
