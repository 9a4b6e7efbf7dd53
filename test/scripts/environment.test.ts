import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { databaseUrls, ownVariables, RUNNING_FILE, withTls } from '../../scripts/environment.ts';

it.each([
  ['ep-name.eu.aws.neon.tech/app', 'ep-name.eu.aws.neon.tech/app?sslmode=verify-full'],
  ['ep-name.eu.aws.neon.tech/app?sslmode=require', 'ep-name.eu.aws.neon.tech/app?sslmode=verify-full'],
  ['eu.pg.psdb.cloud:5432/app?sslrootcert=system', 'eu.pg.psdb.cloud:5432/app?sslmode=verify-full'],
  ['127.0.0.1:5432/app?sslmode=require', '127.0.0.1:5432/app'],
])('what goes by the parameters of a URL connects to %s as src/db does', (address, expected) => {
  const user = 'role.branch:p%40ss';
  expect(withTls(`postgresql://${user}@${address}`)).toBe(`postgresql://${user}@${expected}`);
});

/** Goes, for one test, to a directory that is empty. */
const enterDirectory = async () => {
  const before = process.cwd();
  const directory = await mkdtemp(path.join(tmpdir(), 'dot-env-'));
  process.chdir(directory);
  onTestFinished(() => {
    process.chdir(before);
    return rm(directory, { recursive: true });
  });
};

const setVariables = (variables: Record<string, string | undefined>) => {
  for (const [name, value] of Object.entries(variables)) vi.stubEnv(name, value);
  onTestFinished(() => void vi.unstubAllEnvs());
};

it('what is exported wins over .env, which may begin with a byte order mark', async () => {
  await enterDirectory();
  await writeFile('.env', '\uFEFFMINE=mine\nTHEIRS=mine\n');
  setVariables({ THEIRS: 'theirs' });
  expect(ownVariables()).toEqual({ MINE: 'mine', THEIRS: 'theirs' });
});

it("what is about the database is not the app's own", async () => {
  await enterDirectory();
  const names = ['URL', 'URL_UNPOOLED', 'REPLICA_URL', 'OWNER_URL', 'TRANSPORT', 'MINE'].map(
    (name) => `DATABASE_${name}`,
  );
  await writeFile('.env', names.map((name) => `${name}=x\n`).join(''));
  expect(Object.keys(ownVariables())).toEqual(['DATABASE_MINE']);
});

it('says when .env is not UTF-8, and lets a directory be', async () => {
  await enterDirectory();
  await writeFile('.env', Buffer.from('\uFEFFMINE=1\r\n', 'utf16le'));
  expect(ownVariables).toThrow('.env is not text in UTF-8');
  await rm('.env');
  await mkdir('.env');
  expect(ownVariables()).toEqual({});
});

it('the database of npm run dev is that of one that runs, not of one that was killed', async () => {
  await enterDirectory();
  setVariables({ DATABASE_URL: undefined, DATABASE_OWNER_URL: undefined });
  const url = { app: 'postgresql://app@127.0.0.1/app', owner: 'postgresql://owner@127.0.0.1/app' };
  const tcpUrl = { app: `${url.app}?tcp`, owner: `${url.owner}?tcp` };
  const say = (pid: number) => writeFile(RUNNING_FILE, JSON.stringify({ pid, url, tcpUrl }));
  await say(process.pid);
  expect(databaseUrls('.')).toMatchObject({ ...url, tool: tcpUrl.owner });
  await say(spawnSync(process.execPath, ['--version']).pid);
  expect(() => databaseUrls('.')).toThrow(/^Start "npm run dev"/);
});

const setUrls = (app: string, owner: string) =>
  setVariables({
    DATABASE_URL: `postgresql://${app}`,
    DATABASE_OWNER_URL: `postgresql://${owner}`,
    DATABASE_TRANSPORT: '', // as a line of .env that is left empty
  });

it.each([
  ['a:p@ep-one-pooler.eu.aws.neon.tech/app', 'o:p@ep-two.eu.aws.neon.tech/app'],
  ['a:p@ep-one-pooler.eu.aws.neon.tech/app', 'o:p@ep-one.eu.aws.neon.tech/other'],
  ['a.one:p@eu.pg.psdb.cloud:6432/postgres', 'o.two:p@eu.pg.psdb.cloud:5432/postgres'],
  ['a:p@127.0.0.1:5432/app', 'o:p@ep-one.eu.aws.neon.tech/app'],
])('migrates no other database than that of DATABASE_URL, %s: not %s', (app, owner) => {
  setUrls(app, owner);
  expect(databaseUrls).toThrow(/^DATABASE_URL leads to .*, DATABASE_OWNER_URL to .* exported/);
});

it.each([
  ['a:p@ep-one-pooler.eu.aws.neon.tech/app', 'o:p@ep-one.eu.aws.neon.tech/app'],
  ['a.one:p@eu.private-pg.psdb.cloud:6432/postgres', 'o.one:p@eu.pg.psdb.cloud:5432/postgres'],
  ['a:p@127.0.0.1:6432/pool', 'o:p@db.example.com/app'],
  ['a:p@pooler.example.com/pool', 'o:p@db.example.com/app'],
])('migrates the database of %s as the owner in %s', (app, owner) => {
  setUrls(app, owner);
  expect(databaseUrls().owner).toBe(`postgresql://${owner}`);
});
