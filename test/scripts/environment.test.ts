import { expect, it } from 'vitest';
import { withTls } from '../../scripts/environment.ts';

it.each([
  ['ep-name.eu.aws.neon.tech/app', 'ep-name.eu.aws.neon.tech/app?sslmode=verify-full'],
  ['ep-name.eu.aws.neon.tech/app?sslmode=require', 'ep-name.eu.aws.neon.tech/app?sslmode=verify-full'],
  ['eu.pg.psdb.cloud:5432/app?sslrootcert=system', 'eu.pg.psdb.cloud:5432/app?sslmode=verify-full'],
  ['127.0.0.1:5432/app?sslmode=require', '127.0.0.1:5432/app'],
])('what goes by the parameters of a URL connects to %s as src/db does', (address, expected) => {
  const user = 'role.branch:p%40ss';
  expect(withTls(`postgresql://${user}@${address}`)).toBe(`postgresql://${user}@${expected}`);
});
