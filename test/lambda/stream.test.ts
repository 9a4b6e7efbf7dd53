import { describeContract } from '../contract.ts';
import { streamedUrl } from './events.ts';
import { startApi } from './start-api.ts';

describeContract('Lambda behind a streaming Function URL', startApi('lambda-stream.handler', streamedUrl));
