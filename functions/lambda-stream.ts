import { createLambdaApp, streamingHandler, withValidRequest } from './lambda-app.ts';

const { app } = await createLambdaApp(process.env);

/** For a Function URL with `InvokeMode: RESPONSE_STREAM`; sends the body as it comes. */
export const handler = withValidRequest(streamingHandler(app));
