/**
 * An environment with which the app starts, for tests and measurements. Add every variable of your own that the app cannot do
 * without.
 */
export const EXAMPLE_ENVIRONMENT = {
  DATABASE_URL: 'postgresql://app:nobody@127.0.0.1:1/app', // nothing connects at the start
  API_TOKEN: 'example-token-0123456789',
};
