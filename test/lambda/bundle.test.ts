import { lambdaBundle } from '../../scripts/bundles/lambda.ts';
import { describeBundle } from '../scripts/describe-bundle.ts';

describeBundle(lambdaBundle, [
  'node_modules/ws/wrapper.mjs',
  'node_modules/hono/dist/adapter/netlify/index.js',
  'node_modules/pg-cloudflare/dist/index.js',
  'local/create-once.ts',
]);
