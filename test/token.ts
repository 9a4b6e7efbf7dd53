/** The API's token in the tests. With a log-in of your own: one that you issue for them. */
export const apiToken = 'test-token-0123456789';
