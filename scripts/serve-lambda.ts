/** Serves functions/lambda.ts as a Function URL does. Usage: node scripts/serve-lambda.ts (listens on PORT) */
import type { APIGatewayProxyStructuredResultV2, LambdaFunctionURLEvent } from 'aws-lambda';
import { handler } from '../functions/lambda.ts';
import { fromFunctionUrlResult, toFunctionUrlEvent } from './function-url.ts';
import { serveLocally } from './serve-locally.ts';

// Hono's types of events and results are narrower than AWS's.
const invoke = handler as unknown as (
  event: LambdaFunctionURLEvent,
  context: object,
) => Promise<APIGatewayProxyStructuredResultV2>;

serveLocally(async (request) => {
  const event = await toFunctionUrlEvent(request);
  return fromFunctionUrlResult(await invoke(event, { awsRequestId: event.requestContext.requestId }));
});
