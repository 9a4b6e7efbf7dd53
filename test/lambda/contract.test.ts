import { describeContract } from '../contract.ts';
import { functionUrl, httpApi, loadBalancer, restApi } from './events.ts';
import { startApi } from './start-api.ts';

describeContract('Lambda behind a Function URL', startApi('lambda.handler', functionUrl));
describeContract('Lambda behind an HTTP API', startApi('lambda.handler', httpApi));
describeContract('Lambda behind a REST API', startApi('lambda.handler', restApi));
describeContract('Lambda behind a load balancer', startApi('lambda.handler', loadBalancer));
