import { inject } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { describeContract } from '../contract.ts';
import { startApp } from '../node/start-app.ts';

describeContract(
  'Node over TCP',
  ({ databaseUrl, apiToken }) => {
    const { gatewayPort, postgresPort } = inject('stack');
    const direct = databaseUrl.replace(`:${gatewayPort}/`, `:${postgresPort}/`);
    return startApp({ ...EXAMPLE_ENVIRONMENT, DATABASE_URL: direct, DATABASE_TRANSPORT: 'tcp', API_TOKEN: apiToken });
  },
  { transports: ['tcp'] },
);
