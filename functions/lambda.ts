import { handle } from 'hono/aws-lambda';
import { createLambdaApp, withValidRequest } from './lambda-app.ts';

const { app } = await createLambdaApp(process.env);

/**
 * For a Function URL, API Gateway and load balancers; answers when the body is complete. An HTTP API puts its stage's name in
 * front of each path, so that no route matches: have it use the stage `$default`.
 */
export const handler = withValidRequest(handle(app));
