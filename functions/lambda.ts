import { handle } from 'hono/aws-lambda';
import { createLambdaApp, withValidRequest } from './lambda-app.ts';

const { app } = await createLambdaApp(process.env);

/** For a Function URL, API Gateway and load balancers; answers when the body is complete. */
export const handler = withValidRequest(handle(app));
