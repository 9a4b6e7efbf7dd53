import { createLambdaApp, streamingHandler, withValidRequest } from './lambda-app.ts';

const { app } = await createLambdaApp(process.env);

/** For a Function URL with `InvokeMode: RESPONSE_STREAM`; streams the body. */
export const handler = withValidRequest(streamingHandler(app));
