import type { ALBEvent, ALBResult, APIGatewayProxyEvent, APIGatewayProxyResult } from 'aws-lambda';
import { fromFunctionUrlResult, toFunctionUrlEvent } from '../../scripts/function-url.ts';

/** A way to call a function over HTTP: what makes an event of a request, and a response of what the runtime posts. */
export interface Trigger {
  toEvent: (request: Request) => Promise<unknown>;
  toResponse: (posted: Response) => Promise<Response>;
}

/** Payload format 2.0 of a Function URL. Text bodies come as text. */
export const functionUrl: Trigger = {
  toEvent: toFunctionUrlEvent,
  toResponse: async (posted) => fromFunctionUrlResult((await posted.json()) as object),
};

/** Payload format 2.0 of an HTTP API, here with every body in base64, as a compressed one comes. */
export const httpApi: Trigger = {
  async toEvent(request) {
    const event = await toFunctionUrlEvent(request);
    const { body, isBase64Encoded } = event;
    if (body === undefined || isBase64Encoded) return event;
    return { ...event, body: Buffer.from(body).toString('base64'), isBase64Encoded: true };
  },
  toResponse: functionUrl.toResponse,
};

/**
 * Payload format 1.0 of a REST API: each header and parameter once in a string, and in full in a list. Bodies are in base64
 * where the API declares the binary media type of everything.
 * https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
 */
export const restApi: Trigger = {
  async toEvent(request) {
    const { pathname, searchParams, hostname } = new URL(request.url);
    const headers = Object.fromEntries(request.headers);
    const body = Buffer.from(await request.arrayBuffer());
    const multiValueQueryStringParameters = listParameters(searchParams, decodeURIComponent);
    const requestContext: Partial<APIGatewayProxyEvent['requestContext']> = {
      accountId: '000000000000',
      apiId: 'local',
      domainName: hostname,
      httpMethod: request.method,
      path: pathname,
      protocol: 'HTTP/1.1',
      requestId: crypto.randomUUID(),
      resourcePath: '/{proxy+}',
      stage: 'prod',
    };
    return {
      resource: '/{proxy+}',
      path: pathname,
      httpMethod: request.method,
      headers,
      multiValueHeaders: listHeaders(headers),
      queryStringParameters: Object.fromEntries(searchParams),
      multiValueQueryStringParameters,
      pathParameters: { proxy: pathname.slice(1) },
      stageVariables: null,
      requestContext,
      body: body.byteLength === 0 ? null : body.toString('base64'),
      isBase64Encoded: body.byteLength > 0,
    };
  },
  toResponse: async (posted) => fromProxyResult((await posted.json()) as APIGatewayProxyResult),
};

/**
 * An Application Load Balancer with multi-value headers switched on. It does not decode parameters.
 * https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html
 */
export const loadBalancer: Trigger = {
  async toEvent(request): Promise<ALBEvent> {
    const { pathname, searchParams } = new URL(request.url);
    return {
      requestContext: {
        elb: { targetGroupArn: 'arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/app/1' },
      },
      httpMethod: request.method,
      path: pathname,
      multiValueQueryStringParameters: listParameters(searchParams, encodeURIComponent),
      multiValueHeaders: listHeaders(Object.fromEntries(request.headers)),
      body: await request.text(),
      isBase64Encoded: false,
    };
  },
  toResponse: async (posted) => fromProxyResult((await posted.json()) as ALBResult),
};

/** A `Response` of these takes no body, not even an empty one. */
const NO_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/** A Function URL with `InvokeMode: RESPONSE_STREAM`: the metadata, eight NULs, and the body as it comes. */
export const streamedUrl: Trigger = {
  toEvent: toFunctionUrlEvent,
  async toResponse({ headers, body }) {
    const type = headers.get('Content-Type');
    if (type !== 'application/vnd.awslambda.http-integration-response' || !body) throw new Error(`streamed ${type}`);
    const reader = body.getReader();
    let head = Buffer.alloc(0);
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error('the stream ended without metadata');
      head = Buffer.concat([head, value]);
      const end = head.indexOf(Buffer.alloc(8));
      if (end === -1) continue;
      const rest = head.subarray(end + 8);
      const metadata = JSON.parse(head.toString('utf8', 0, end)) as Parameters<typeof fromFunctionUrlResult>[0];
      const response = fromFunctionUrlResult(metadata);
      const body = continued(rest, reader);
      if (!NO_BODY.has(response.status)) return new Response(body, response);
      await new Response(body).text(); // to its end: until then the function has not answered
      return response;
    }
  },
};

function continued(first: Uint8Array, reader: ReadableStreamDefaultReader<Uint8Array>): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start: (controller) => (first.byteLength > 0 ? controller.enqueue(first) : undefined),
    async pull(controller) {
      const { value, done } = await reader.read();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
}

function listHeaders(headers: Record<string, string>): Record<string, string[]> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]]));
}

function listParameters(parameters: URLSearchParams, write: (value: string) => string): Record<string, string[]> {
  return Object.fromEntries([...new Set(parameters.keys())].map((name) => [name, parameters.getAll(name).map(write)]));
}

function fromProxyResult({
  statusCode,
  headers,
  multiValueHeaders,
  body,
  isBase64Encoded,
}: APIGatewayProxyResult | ALBResult) {
  const response = fromFunctionUrlResult({
    statusCode,
    ...(headers && { headers }),
    ...(body !== undefined && { body }),
    ...(isBase64Encoded !== undefined && { isBase64Encoded }),
  });
  for (const [name, values] of Object.entries(multiValueHeaders ?? {})) {
    response.headers.delete(name);
    for (const value of values) response.headers.append(name, String(value));
  }
  return response;
}
