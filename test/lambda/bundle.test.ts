import { lambdaBundle } from '../../scripts/bundles/lambda.ts';
import { describeBundle } from '../scripts/describe-bundle.ts';

describeBundle(lambdaBundle, 'node_modules/ws/wrapper.mjs');
