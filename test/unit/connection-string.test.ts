import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { directTarget, endpointsOf, parseConnectionString } from '../../src/db/connection-string.ts';
import { createDatabase } from '../../src/db/database.ts';
import { roleWarning } from '../../src/db/internal/targets.ts';

const neon = 'ep-cool-1.eu-central-1.aws.neon.tech';
const neonPooler = 'ep-cool-1-pooler.eu-central-1.aws.neon.tech';
const psdb = 'eu-central.horizon.psdb.cloud';

describe('parseConnectionString', () => {
  it.each([
    [
      `app:pw@${neonPooler}/main?sslmode=require&channel_binding=require`,
      { provider: 'neon', port: 5432, route: 'pooled' },
    ],
    [`app:pw@${neon}/main`, { provider: 'neon', route: 'direct', role: 'app', server: 'unknown' }],
    [
      `role.branch:pw@${psdb}/postgres?sslmode=verify-full&sslrootcert=system&sslnegotiation=direct`,
      { provider: 'planetscale', port: 5432, role: 'role', branch: 'branch', route: 'direct', server: 'primary' },
    ],
    [
      `role.branch%7Creplica:pw@${psdb}:5432/postgres`,
      { user: 'role.branch|replica', route: 'direct', server: 'replica' },
    ],
    [`role.branch|replica:pw@${psdb}:5432/postgres`, { user: 'role.branch|replica', suffix: 'replica' }],
    [`role.branch:pw@${psdb}:6432/postgres`, { route: 'pooled', server: 'primary', network: 'public' }],
    [`first.last.branch:pw@${psdb}/postgres`, { role: 'first.last', branch: 'branch' }],
    [`role.branch%7Creads:pw@${psdb}:6432/postgres`, { route: 'pooled', suffix: 'reads', server: 'unknown' }],
    ['role.branch:pw@vpce-1.private-pg.psdb.cloud:6432/postgres', { provider: 'planetscale', network: 'private' }],
    ['role.branch:pw@psc-1.gcp-us-east4.private-pg.psdb.cloud/postgres', { network: 'private', route: 'direct' }],
    ['app:pw@127.0.0.1:4444/app', { provider: 'local', port: 4444, route: 'direct', network: 'public' }],
    ['app:pw@localhost:80/app?sslmode=disable', { provider: 'local', port: 80 }],
    ['app:pw@[::1]:4444/app', { provider: 'local', host: '::1' }],
    ['app:pw@127.1.2.3/app', { provider: 'local' }],
    ['app:pw@db.example.com/app', { provider: 'other', port: 5432 }],
    // Not loopback: they need TLS.
    ['app:pw@127.0.0.1.example.com/app', { provider: 'other' }],
    ['app:pw@not-localhost/app', { provider: 'other' }],
    // Strangers, who may not be sent the password.
    ['app:pw@ep-cool-1.neon.tech.example.com/app', { provider: 'other' }],
    ['app.main:pw@eu-central.psdb.cloud.example.com/app', { provider: 'other' }],
    // The names of hosts have no case; what a pooler or a branch is called by one provider is a name like another elsewhere.
    [`app:pw@${neonPooler.toUpperCase()}/main`, { provider: 'neon', host: neonPooler, route: 'pooled' }],
    ['app:pw@ep-pooler.example.com/app', { provider: 'other', route: 'direct' }],
    [`first.last:pw@${neon}/main`, { role: 'first.last', branch: undefined }],
  ])('reads %s', (rest, expected) => {
    for (const scheme of ['postgresql', 'postgres']) {
      expect(parseConnectionString(`${scheme}://${rest}`)).toMatchObject(expected);
    }
  });

  it('decodes what is percent-encoded', () => {
    const target = parseConnectionString('postgresql://us%40er:p%2Fw%23@127.0.0.1:1/my%20db');
    expect([target.user, target.password, target.database]).toEqual(['us@er', 'p/w#', 'my db']);
  });

  it.each([
    ['', 'unset, or no postgresql:// URL'],
    ['mysql://app:secret@host/db', 'no postgresql:// URL'],
    ['jdbc:postgresql://app:secret@host/db', 'no postgresql:// URL'],
    ['postgresql://app:se/cret@host/db', 'no postgresql:// URL'],
    ['postgresql://app:x@secret/x@ep-x.neon.tech/db', 'percent-encode'],
    ['postgresql://app:x@secret?x@ep-x.neon.tech/db', 'percent-encode'],
    ['postgresql://app:secret@host:port/db', 'no postgresql:// URL'],
    ['postgresql://:secret@host/db', 'no user'],
    ['postgresql://app@host/db', 'no password'],
    ['postgresql://app:secret@host', 'no database'],
    ['postgresql://app:secret%ZZ@host/db', 'percent-encode'],
    ['postgresql://app:secret@db.example.com/db?sslmode=disable', 'sslmode=disable'],
    [`postgresql://role:secret@${psdb}/postgres`, '{role}.{branch}'],
    [`postgresql://role.branch|:secret@${psdb}/postgres`, '{role}.{branch}'],
    [`postgresql://x|role.branch:secret@${psdb}/postgres`, '{role}.{branch}'],
    [`postgresql://role.branch|replica:secret@${psdb}:6432/postgres`, '|replica is on 5432'],
    [`postgresql://role.branch|reads:secret@${psdb}:5432/postgres`, '|reads names a PgBouncer'],
    [`postgresql://role.branch:secret@${psdb}:3306/postgres`, 'is on 5432 and 6432'],
  ])('refuses %s without showing it', (url, problem) => {
    const refuse = () => parseConnectionString(url);
    expect(refuse).toThrow(problem);
    expect(refuse).not.toThrow(/secret|se\/cret/);
  });

  it('shows its password to nobody who prints it', () => {
    const target = parseConnectionString('postgresql://app:hunter2@127.0.0.1/db');
    expect(inspect(target) + JSON.stringify(target)).not.toContain('hunter2');
  });
});

describe('roleWarning', () => {
  const warning = (rest: string) => roleWarning(parseConnectionString(`postgresql://${rest}`));

  it('tells how to make a better role than postgres, at each provider', () => {
    expect(warning(`postgres.branch:pw@${psdb}/postgres`)).toContain('pscale role create');
    expect(warning(`postgres:pw@${neon}/main`)).toContain('CREATE USER app');
  });

  it('has nothing to say about another role', () => {
    expect(warning(`app.postgres:pw@${psdb}/postgres`)).toBeUndefined();
    expect(warning(`app:pw@${neon}/postgres`)).toBeUndefined();
  });

  it.each(['url', 'unpooledUrl', 'replicaUrl'])('is told by createDatabase of its %s, without the password', (name) => {
    const warnings: string[] = [];
    createDatabase({
      url: `postgresql://app:hunter2@${neon}/main`,
      [name]: `postgresql://postgres:hunter2@${neon}/main`,
      schema: {},
      transports: {},
      sockets: 'request',
      onWarning: (message) => warnings.push(message),
    });
    expect(warnings).toEqual([expect.stringContaining('not for applications')]);
    expect(warnings[0]).not.toContain('hunter2');
  });
});

describe('directTarget', () => {
  const direct = (rest: string) => directTarget(parseConnectionString(`postgresql://${rest}`));

  it.each([
    [`app:pw@${neonPooler}/main`, { host: neon, route: 'direct' }],
    [`app:pw@${neon}/main`, { host: neon }],
    [`role.branch:pw@${psdb}:6432/postgres`, { host: psdb, port: 5432, route: 'direct' }],
    ['app:pw@127.0.0.1:4444/app', { port: 4444 }],
  ])('of %s is certain', (rest, expected) => {
    expect(direct(rest)).toMatchObject(expected);
    expect(direct(rest)?.password).toBe('pw');
  });

  it('of a named PgBouncer is not', () => {
    expect(direct(`role.branch|reads:pw@${psdb}:6432/postgres`)).toBeUndefined();
  });
});

describe('the endpoints of the Neon driver', () => {
  it.each([
    [`app:pw@${neonPooler}/main`, 'https://api.eu-central-1.aws.neon.tech/sql', `${neonPooler}/v2`],
    [`role.branch:pw@${psdb}:6432/postgres`, `https://${psdb}/sql`, `${psdb}/v2?address=${psdb}:6432`],
    ['app:pw@127.0.0.1:4444/app', 'http://127.0.0.1:4444/sql', '127.0.0.1:4444/v2'],
    ['app:pw@[::1]:4444/app', 'http://[::1]:4444/sql', '[::1]:4444/v2'],
  ])('of %s', (rest, http, webSocket) => {
    const target = parseConnectionString(`postgresql://${rest}`);
    expect(endpointsOf(target)).toMatchObject({ http, webSocket });
  });

  it.each([
    'app:pw@mydb.postgres.database.azure.com/app',
    'app:pw@192.168.1.10/app',
    'role.branch:pw@vpce-1.private-pg.psdb.cloud/postgres',
  ])('are refused for %s', (rest) => {
    const target = parseConnectionString(`postgresql://${rest}`);
    expect(() => endpointsOf(target)).toThrow('no public address of Neon or PlanetScale');
  });
});
