import { describe, expect, it } from 'vitest';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import { ConfigError, parseConfig } from '../../src/config.ts';

const complete = {
  ...EXAMPLE_ENVIRONMENT,
  DATABASE_URL: 'postgresql://app:pw@127.0.0.1:4444/app',
  API_TOKEN: 'a-token-of-enough-length',
};

describe('parseConfig', () => {
  it('reads a complete environment', () => {
    const { database, transport, apiToken } = parseConfig(complete);
    expect({ database, transport, apiToken }).toEqual({
      database: { url: complete.DATABASE_URL, unpooledUrl: undefined, replicaUrl: undefined },
      transport: 'neon',
      apiToken: complete.API_TOKEN,
    });
  });

  it('lists every problem by its variable, and shows no value', () => {
    const wrong = {
      DATABASE_URL: 'mysql://app:hunter2@host/db',
      DATABASE_URL_UNPOOLED: 'postgresql://app:hunter2@host:port/db',
      DATABASE_REPLICA_URL: 'hunter2',
      API_TOKEN: 'hunter2',
      API_TOKEN_PREVIOUS: 'hunter2',
    };
    let error: unknown;
    try {
      parseConfig({ ...complete, ...wrong });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(ConfigError);
    const { message } = error as ConfigError;
    expect(Array.from(message.matchAll(/^ {2}- (\w+)/gm), ([, name]) => name)).toEqual(Object.keys(wrong));
    expect(message).not.toContain('hunter2');
  });

  it.each([
    ['role', 'owner:hunter2@ep-x.aws.neon.tech/app', 'app:hunter2@ep-x-pooler.aws.neon.tech/app'],
    ['database', 'app:hunter2@ep-x.aws.neon.tech/neondb', 'app:hunter2@ep-x-pooler.aws.neon.tech/app'],
    ['branch of Neon', 'app:hunter2@ep-y.aws.neon.tech/app', 'app:hunter2@ep-x-pooler.aws.neon.tech/app'],
    ['branch of PlanetScale', 'app.pr:hunter2@eu.pg.psdb.cloud/app', 'app.main:hunter2@eu.pg.psdb.cloud:6432/app'],
  ])('refuses an address without the pooler that leads to another %s', (_, unpooled, pooled) => {
    const [DATABASE_URL, DATABASE_URL_UNPOOLED] = [`postgresql://${pooled}`, `postgresql://${unpooled}`];
    const message =
      'DATABASE_URL_UNPOOLED names a different role, database or branch than DATABASE_URL: it must be the same without the pooler.';
    const env = { ...complete, DATABASE_URL, DATABASE_URL_UNPOOLED };
    expect(() => parseConfig(env)).toThrow(`The environment is invalid:\n  - ${message}`);
  });

  it.each([
    ['Neon', 'app:pw@ep-x.aws.neon.tech/app', 'app:pw@ep-x-pooler.aws.neon.tech/app'],
    ['PlanetScale', 'app.main:pw@eu.pg.psdb.cloud:5432/app', 'app.main%7Cbouncer:pw@eu.pg.psdb.cloud:6432/app'],
    ['others, whose pooler has names of its own', 'app:pw@db.example.com/app', 'app.x:pw@pool.example.com/app'],
    ['a pooler beside the application, too', 'app:pw@127.0.0.1:5432/app', 'app:pw@127.0.0.1:6432/app_pool'],
    ['PlanetScale behind such a pooler', 'app.main:pw@eu.pg.psdb.cloud/app', 'app:pw@localhost:6432/app'],
  ])('takes an address without the pooler of %s', (_, unpooled, pooled) => {
    const [DATABASE_URL, DATABASE_URL_UNPOOLED] = [`postgresql://${pooled}`, `postgresql://${unpooled}`];
    const env = { ...complete, DATABASE_TRANSPORT: 'tcp', DATABASE_URL, DATABASE_URL_UNPOOLED };
    const { database } = parseConfig(env, ['tcp']);
    expect(database.unpooledUrl).toBe(DATABASE_URL_UNPOOLED);
  });

  it('refuses a host that the Neon driver cannot reach', () => {
    const env = { ...complete, DATABASE_URL: 'postgresql://app:hunter2@db.example.com/app' };
    expect(() => parseConfig(env)).toThrow('DATABASE_URL: db.example.com is no public address of Neon or PlanetScale');
    const config = parseConfig({ ...env, DATABASE_TRANSPORT: 'tcp' }, ['neon', 'tcp']);
    expect([config.transport, config.database.url]).toEqual(['tcp', env.DATABASE_URL]);
  });

  it.each(['tcp', 'hyperdrive'])(
    'refuses the transport %s where the bundle does not carry it',
    (DATABASE_TRANSPORT) => {
      expect(() => parseConfig({ ...complete, DATABASE_TRANSPORT })).toThrow(
        'DATABASE_TRANSPORT: this deployment carries neon only',
      );
    },
  );

  it.each([
    'fifteen-letters',
    'a-token-of-letters and-spaces',
    'a-token-with-an-ü-in-it',
    'ü-a-token-of-enough-length',
  ])('refuses the token %s', (API_TOKEN) => {
    expect(() => parseConfig({ ...complete, API_TOKEN })).toThrow('API_TOKEN must be at least 16 letters');
  });

  it('takes a token in base64, and leaves out the space around it', () => {
    expect(parseConfig({ ...complete, API_TOKEN: ' QUJD/0RF+RzA5OjsPD0+Pw==\n' }).apiToken).toBe(
      'QUJD/0RF+RzA5OjsPD0+Pw==',
    );
  });

  it('refuses an environment without a database or a token', () => {
    expect(() => parseConfig({})).toThrow(/DATABASE_URL is not set[\s\S]*API_TOKEN is not set/);
    expect(() => parseConfig({ ...complete, API_TOKEN: ' ' })).toThrow('API_TOKEN is not set');
  });
});
