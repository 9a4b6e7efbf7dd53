import { pipeline } from 'node:stream/promises';
import { setImmediate } from 'node:timers/promises';
import type { StreamifyHandler } from 'aws-lambda';
import type { Hono } from 'hono';
import { handle, type LambdaEvent } from 'hono/aws-lambda';
import { type Config, parseConfig } from '../src/config.ts';
import { createApp } from '../src/create-app.ts';
import type { DatabaseUrls } from '../src/db/database.ts';
import { CARRIED, serverTransports } from '../src/server-transports.ts';
import { readSecret } from './aws-secret.ts';

/**
 * The app on Lambda. Its variables come from the environment and, if `SECRET_ID` names one, from a secret, which is read at
 * startup and again when the database refuses a log-in: a password can be rotated without a deployment.
 */
export async function createLambdaApp(env: NodeJS.ProcessEnv) {
  const { SECRET_ID: id } = env;
  const load = async () => parseConfig({ ...env, ...(id && (await readSecret(id, env))) }, CARRIED);
  const config = await load();
  return createApp(
    { ...config, database: id ? reread(config, load) : config.database },
    { transports: await serverTransports(config.transport), sockets: 'instance' },
  );
}

/** The URLs of `first` when they are first asked for, and those that `load` returns from then on. */
function reread(first: Config, load: () => Promise<Config>): DatabaseUrls {
  let latest: Promise<Config> | undefined = Promise.resolve(first);
  const forget = () => (latest = undefined);
  const read = (name: keyof Config['database']) => async () => {
    // URLs that are asked for together come from a single read.
    latest ??= load();
    const current = latest;
    current.then(forget, forget);
    return (await current).database[name] ?? '';
  };
  return { url: read('url'), unpooledUrl: read('unpooledUrl'), replicaUrl: read('replicaUrl') };
}

interface Event {
  httpMethod?: string;
  method?: string;
  cookies?: string[];
  requestContext?: { http?: { method?: string } };
}

/**
 * An event may have a body with GET and HEAD, and cookies of any characters; a `Request` may not. Hono would fail before the
 * app is called, and the streaming handler would answer 200. Nothing reads such a body; in such cookies, characters that no
 * header can contain are percent-encoded.
 *
 * If the process was frozen until the event came, nothing must be sent over connections that have ended meanwhile.
 */
export function withValidRequest<Rest extends unknown[], Result>(
  handler: (event: never, ...rest: Rest) => Promise<Result>,
) {
  const forward = async (event: Event, ...rest: Rest): Promise<Result> => {
    // The event loop may still be in the turn that brought the event: after the next one it knows which connections have ended.
    for (let turn = 0; turn < 2; turn++) await setImmediate();
    const method = event.httpMethod ?? event.method ?? event.requestContext?.http?.method;
    const isIdle = method === 'GET' || method === 'HEAD';
    const cookies = event.cookies?.map((cookie) => cookie.toWellFormed().replaceAll(/[^ -~]+/g, encodeURIComponent));
    return handler({ ...event, ...(isIdle && { body: null }), cookies } as never, ...rest);
  };
  return Object.assign(forward, handler); // with the mark of a streaming handler
}

/**
 * A handler that streams the body. A failure, such as a body that breaks off, is passed to the runtime, which reports it after
 * what was already sent, and survives: Hono's own handler would destroy the stream, which ends AWS's runtime and the instance
 * with it, or answer 200.
 */
export function streamingHandler({ fetch }: Pick<Hono, 'fetch'>): StreamifyHandler {
  return awslambda.streamifyResponse(async (event: LambdaEvent, stream, context) => {
    let sent: ReadableStream<Uint8Array> | null = null;
    const send: typeof fetch = async (...request) => {
      const response = await fetch(...request);
      sent = response.body;
      return new Response(null, response);
    };
    const { body, isBase64Encoded: _, ...metadata } = await handle({ fetch: send } as Hono)(event, context);
    const responseStream = awslambda.HttpResponseStream.from(stream, metadata);
    await pipeline(sent ?? [], responseStream, { end: false }); // ending it here would also destroy it
    // Empty, unless Hono cannot make a request of the event and refuses it. Only a write sends the metadata, in front of it.
    responseStream.write(body);
    responseStream.end();
  });
}
