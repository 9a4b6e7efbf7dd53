import { inject } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { describeContract } from '../contract.ts';
import { startApp } from './start-app.ts';

describeContract('Node, through a pooler', ({ databaseUrl, apiToken }) => {
  const { gatewayPort, poolerPort } = inject('stack');
  const pooled = databaseUrl.replace(`:${gatewayPort}/`, `:${poolerPort}/`);
  return startApp({
    ...EXAMPLE_ENVIRONMENT,
    DATABASE_URL: pooled,
    DATABASE_URL_UNPOOLED: databaseUrl,
    API_TOKEN: apiToken,
  });
});
