import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import type { Target, TargetOptions } from '../contract.ts';
import type { Trigger } from './events.ts';
import { type FunctionOptions, startFunction } from './start-function.ts';

/** The API in a function behind a trigger. */
export const startApi =
  (handler: string, { toEvent, toResponse }: Trigger, options?: Pick<FunctionOptions, 'runtime'>) =>
  async ({ databaseUrl, apiToken }: TargetOptions): Promise<Target> => {
    const environment = { ...EXAMPLE_ENVIRONMENT, DATABASE_URL: databaseUrl, API_TOKEN: apiToken };
    const { invoke, close } = await startFunction({ handler, environment, ...options });
    return {
      async fetch(path, init) {
        const request = new Request(new URL(path, 'https://api.example'), init);
        request.headers.set('Cookie', 'theme=dark; language=en'); // they travel apart from the headers in some events
        return toResponse(await invoke(await toEvent(request)));
      },
      close,
    };
  };
