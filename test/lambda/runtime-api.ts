import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { json } from 'node:stream/consumers';
import { startListening } from '../../local/start-listening.ts';

/** Lambda's side of the Runtime API, for one execution environment: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html */
export interface RuntimeApi {
  /** `AWS_LAMBDA_RUNTIME_API` */
  address: string;
  /**
   * Hands an event to the runtime, one after another.
   * @returns what the runtime posts; rejects with the error that it reports
   */
  invoke(event: unknown): Promise<Response>;
  close(): Promise<void>;
}

interface Invocation extends PromiseWithResolvers<Response> {
  id: string;
  event: unknown;
}

/** Milliseconds; what `context.getRemainingTimeInMillis()` counts from. */
const TIMEOUT = 60_000;

export async function startRuntimeApi(): Promise<RuntimeApi> {
  const waiting: Invocation[] = [];
  const running = new Map<string, Invocation>();
  let failure: Error | undefined;
  let next: ((invocation: Invocation) => void) | undefined;

  const fail = (error: Error) => {
    failure = error;
    for (const { reject } of [...waiting.splice(0), ...running.values()]) reject(error);
  };

  const hand = (response: ServerResponse) => (invocation: Invocation) => {
    next = undefined;
    running.set(invocation.id, invocation);
    response.writeHead(200, {
      'Content-Type': 'application/json',
      'Lambda-Runtime-Aws-Request-Id': invocation.id,
      'Lambda-Runtime-Deadline-Ms': Date.now() + TIMEOUT,
      'Lambda-Runtime-Invoked-Function-Arn': 'arn:aws:lambda:us-east-1:000000000000:function:app',
      'Lambda-Runtime-Trace-Id': 'Root=1-0-0',
    });
    response.end(JSON.stringify(invocation.event));
  };

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const [, id = '', what = ''] =
      /^\/2018-06-01\/runtime\/(?:invocation\/)?([^/]+)(?:\/(response|error))?$/.exec(request.url ?? '') ?? [];
    if (id === 'next') {
      const hander = hand(response);
      const first = waiting.shift();
      if (first) hander(first);
      else next = hander;
      return;
    }
    const error = id === 'init' || what === 'error' ? await reportedError(request) : undefined;
    if (error && id === 'init') fail(error);
    const invocation = running.get(id);
    running.delete(id);
    if (error) invocation?.reject(error);
    else {
      invocation?.resolve(posted(request));
      await once(request, 'end').catch(() => {});
    }
    response.writeHead(202).end();
  };

  // The runtime keeps its connections: one closed as idle while it sends would end it.
  const server = createServer({ keepAliveTimeout: 0 }, (request, response) => void answer(request, response));
  return {
    address: `127.0.0.1:${await startListening(server)}`,
    async invoke(event) {
      if (failure) throw failure;
      const invocation = { ...Promise.withResolvers<Response>(), id: randomUUID(), event };
      if (next) next(invocation);
      else waiting.push(invocation);
      return invocation.promise;
    },
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function posted(request: IncomingMessage): Response {
  const headers = Object.entries(request.headersDistinct).map(([name, values = []]) => [name, values.join(', ')]);
  return new Response(Readable.toWeb(request) as ReadableStream, { headers: headers as [string, string][] });
}

async function reportedError(request: IncomingMessage): Promise<Error> {
  const { errorType, errorMessage } = (await json(request)) as Record<string, string>;
  return new Error(`${errorType}: ${errorMessage}`);
}
