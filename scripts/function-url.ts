import type { APIGatewayProxyStructuredResultV2, LambdaFunctionURLEvent } from 'aws-lambda';

/** Bodies of these types are passed on as text, all others in base64. */
const TEXT = /^(text\/|application\/(json|xml|javascript)\b)/;

/**
 * The event that a Function URL makes of a request.
 * https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads
 */
export async function toFunctionUrlEvent(request: Request): Promise<LambdaFunctionURLEvent> {
  const { hostname, pathname, search, searchParams } = new URL(request.url);
  const { cookie, ...headers } = Object.fromEntries(request.headers);
  const body = Buffer.from(await request.arrayBuffer());
  const isBase64Encoded = body.byteLength > 0 && !TEXT.test(headers['content-type'] ?? '');
  const now = new Date();
  return {
    version: '2.0',
    routeKey: '$default',
    rawPath: pathname,
    rawQueryString: search.slice(1),
    headers,
    ...(cookie !== undefined && { cookies: cookie.split('; ') }),
    ...(search !== '' && { queryStringParameters: Object.fromEntries(searchParams) }),
    requestContext: {
      accountId: 'anonymous',
      apiId: 'local',
      domainName: hostname,
      domainPrefix: 'local',
      http: {
        method: request.method,
        path: pathname,
        protocol: 'HTTP/1.1',
        sourceIp: '127.0.0.1',
        userAgent: headers['user-agent'] ?? '',
      },
      requestId: crypto.randomUUID(),
      routeKey: '$default',
      stage: '$default',
      time: now.toISOString(),
      timeEpoch: now.getTime(),
    },
    ...(body.byteLength > 0 && { body: body.toString(isBase64Encoded ? 'base64' : 'utf8') }),
    isBase64Encoded,
  };
}

/** The response that a Function URL makes of a handler's result. */
export function fromFunctionUrlResult(result: APIGatewayProxyStructuredResultV2): Response {
  const { statusCode = 200, headers = {}, cookies = [], body, isBase64Encoded } = result;
  const response = new Response(body === undefined || body === '' ? null : decode(body, isBase64Encoded), {
    status: statusCode,
    headers: Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)]),
  });
  for (const cookie of cookies) response.headers.append('Set-Cookie', cookie);
  return response;
}

function decode(body: string, isBase64Encoded = false): BodyInit {
  return isBase64Encoded ? Uint8Array.from(Buffer.from(body, 'base64')) : body;
}
