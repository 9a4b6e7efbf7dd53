/**
 * A small runtime for Node functions: loads the handler and serves the Runtime API, one invocation after another, with the
 * `awslambda` global of AWS's own (https://docs.aws.amazon.com/lambda/latest/dg/configuration-response-streaming.html).
 */
import { once } from 'node:events';
import { type ClientRequest, get, type IncomingMessage, request } from 'node:http';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

type StreamingHandler = (event: unknown, stream: ClientRequest, context: object) => Promise<void>;
type Handler = (event: unknown, context: object) => Promise<unknown>;

const { AWS_LAMBDA_RUNTIME_API: host = '', LAMBDA_TASK_ROOT: root = '', _HANDLER = '' } = process.env;
const api = `http://${host}/2018-06-01/runtime`;

/** How AWS's own marks a handler that streams, with the value `response`. */
const STREAMING = Symbol.for('aws.lambda.runtime.handler.streaming');

Object.assign(globalThis, {
  awslambda: {
    streamifyResponse(handler: StreamingHandler) {
      return Object.assign(handler, { [STREAMING]: 'response' });
    },
    HttpResponseStream: {
      /** The metadata leave in front of the first write, and never without one. */
      from(stream: ClientRequest, metadata: object) {
        stream.setHeader('Content-Type', 'application/vnd.awslambda.http-integration-response');
        const write = stream.write.bind(stream);
        stream.write = ((...chunk: Parameters<typeof write>) => {
          stream.write = write;
          write(JSON.stringify(metadata));
          write(new Uint8Array(8));
          return write(...chunk);
        }) as typeof write;
        return stream;
      },
    },
  },
});

/** The response, as a request that sends it to the Runtime API. */
const open = (route: string, headers: Record<string, string>): ClientRequest => {
  const stream = request(`${api}${route}`, { method: 'POST', headers });
  return stream.once('response', (answer) => answer.resume());
};

const post = (route: string, body: unknown) =>
  fetch(`${api}${route}`, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'Content-Type': 'application/json' },
  });

const report = async (route: string, error: unknown) => {
  const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) };
  await post(route, { errorType: name, errorMessage: message });
};

/** In the turn of the event loop in which it arrives, as the native client of AWS's runtime does. */
const next = () =>
  new Promise<{ id: string; event: unknown }>((resolve, reject) => {
    const read = (message: IncomingMessage) => {
      let text = '';
      message.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      message.on('end', () => {
        resolve({ id: String(message.headers['lambda-runtime-aws-request-id']), event: JSON.parse(text) });
      });
    };
    get(`${api}/invocation/next`, read).on('error', reject);
  });

const [file, name = ''] = _HANDLER.split('.');
const load = async () => {
  const module = (await import(pathToFileURL(path.join(root, `${file}.mjs`)).href)) as Record<string, Handler>;
  const handler = module[name];
  if (!handler) throw new Error(`${_HANDLER} is undefined or not exported`);
  return handler;
};
const handler = await load().catch(async (error: unknown) => {
  await report('/init/error', error);
  return process.exit(1);
});

for (;;) {
  const { id, event } = await next();
  const context = { awsRequestId: id };
  const route = `/invocation/${id}`;
  try {
    if (STREAMING in handler) {
      const stream = open(`${route}/response`, {
        'Content-Type': 'application/octet-stream',
        'Lambda-Runtime-Function-Response-Mode': 'streaming',
        'Transfer-Encoding': 'chunked',
      });
      const closed = once(stream, 'close');
      await (handler as unknown as StreamingHandler)(event, stream, context);
      await closed;
    } else {
      await post(`${route}/response`, await handler(event, context));
    }
  } catch (error) {
    await report(`${route}/error`, error);
  }
}
