import { createHash, createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { text } from 'node:stream/consumers';
import { sql } from 'drizzle-orm';
import { afterAll, beforeAll, expect, it, onTestFinished, vi } from 'vitest';
import { readSecret } from '../../functions/aws-secret.ts';
import { createLambdaApp } from '../../functions/lambda-app.ts';
import { startListening } from '../../local/start-listening.ts';
import { EXAMPLE_ENVIRONMENT } from '../../scripts/example-environment.ts';
import type { Queryable } from '../../src/db/database.ts';
import { createTestDatabase, type TestDatabase } from '../database.ts';
import { EXAMPLE } from '../example-contract.ts';
import { functionUrl } from './events.ts';
import { startFunction } from './start-function.ts';
import { apiToken } from '../token.ts';

const CREDENTIALS = {
  AWS_REGION: 'eu-central-1',
  AWS_ACCESS_KEY_ID: 'AKIDEXAMPLE',
  AWS_SECRET_ACCESS_KEY: 'a-secret-key',
  AWS_SESSION_TOKEN: 'token',
};

let database: TestDatabase;
/** What a proxy says in place of Secrets Manager. */
const OUT_OF_ORDER = '<html>out of order</html>';

/** What it says when its connection breaks off. */
const BROKEN = '<broken off>';

/** Answers GetSecretValue to whom the credentials above belong. */
let secretsManager: Server;
let endpoint: string;
let secret: string;
let asked: number;
/** How often it is too busy to answer. */
let busy = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  const answer = (request: IncomingMessage, body: string) => {
    const { SecretId } = JSON.parse(body) as { SecretId: string };
    const { authorization, 'x-amz-target': target, 'x-amz-security-token': token } = request.headers;
    const isKnown =
      target === 'secretsmanager.GetSecretValue' && request.headers['content-type'] === 'application/x-amz-json-1.1';
    if (busy > 0) return { __type: 'ThrottlingException' };
    if (!isKnown) return { __type: 'UnknownOperationException' };
    // No role's credentials are valid without it.
    if (token !== CREDENTIALS.AWS_SESSION_TOKEN) return { __type: 'UnrecognizedClientException' };
    if (authorization !== sign(request, body)) return { __type: 'AccessDeniedException' };
    return SecretId === 'app' ? { SecretString: secret } : { __type: 'ResourceNotFoundException' };
  };
  secretsManager = createServer((request, response) => {
    asked++;
    const reply = async () => {
      const answered = answer(request, await text(request));
      if (answered.SecretString === BROKEN) {
        response.writeHead(200, { 'Content-Length': 100 }).write('{"SecretString":');
        setTimeout(() => response.destroy(), 50);
        return;
      }
      const isOut = answered.SecretString === OUT_OF_ORDER;
      const status = busy-- > 0 ? 503 : isOut ? 404 : '__type' in answered ? 400 : 200;
      response.writeHead(status, { 'Content-Type': 'application/x-amz-json-1.1' });
      response.end(isOut ? OUT_OF_ORDER : JSON.stringify(answered));
    };
    void reply();
  });
  endpoint = `http://127.0.0.1:${await startListening(secretsManager)}`;
});

afterAll(async () => {
  secretsManager.close();
  await database.close();
});

/** Signature version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html */
function sign({ headers, method, url }: IncomingMessage, body: string): string {
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: key, AWS_REGION: region } = CREDENTIALS;
  const sha256 = (value: string) => createHash('sha256').update(value).digest('hex');
  const hmac = (by: string | Buffer, value: string) => createHmac('sha256', by).update(value).digest();
  const names = (/SignedHeaders=([^,]+)/.exec(headers.authorization ?? '')?.[1] ?? '').split(';');
  const canonical = [
    method,
    url,
    '',
    ...names.map((name) => `${name}:${String(headers[name])}`),
    '',
    names.join(';'),
    sha256(body),
  ];
  const time = String(headers['x-amz-date']);
  const scope = [time.slice(0, 8), region, 'secretsmanager', 'aws4_request'];
  const signingKey = scope.reduce<string | Buffer>(hmac, `AWS4${key}`);
  const toSign = ['AWS4-HMAC-SHA256', time, scope.join('/'), sha256(canonical.join('\n'))].join('\n');
  const signature = hmac(signingKey, toSign).toString('hex');
  return `AWS4-HMAC-SHA256 Credential=${id}/${scope.join('/')}, SignedHeaders=${names.join(';')}, Signature=${signature}`;
}

const start = (id = 'app', environment: Record<string, string> = {}) => {
  asked = 0;
  const secretId = { SECRET_ID: id, AWS_ENDPOINT_URL_SECRETS_MANAGER: endpoint };
  return startFunction({ handler: 'lambda.handler', environment: { ...CREDENTIALS, ...secretId, ...environment } });
};

const variables = (url: string) =>
  JSON.stringify({ ...EXAMPLE_ENVIRONMENT, DATABASE_URL: url, DATABASE_URL_UNPOOLED: url, API_TOKEN: apiToken });

it('starts with the variables of a secret, and reads it again when a log-in is refused', async () => {
  const rotated = new URL(database.url);
  rotated.password = 'of-yesterday';
  secret = variables(rotated.href);
  const lambda = await start('app', { API_TOKEN: 'that-of-the-environment' });
  const list = async () => {
    const headers = { Authorization: `Bearer ${apiToken}` };
    const event = await functionUrl.toEvent(new Request(`https://api.example${EXAMPLE.path}`, { headers }));
    return (await functionUrl.toResponse(await lambda.invoke(event))).status;
  };
  expect(await list()).toBe(500);
  expect(asked).toBe(2);
  secret = OUT_OF_ORDER;
  expect(await list()).toBe(503); // which says nothing of the next time
  asked = 0;
  secret = variables(database.url);
  expect(await list()).toBe(200);
  expect(await list()).toBe(200);
  expect(asked).toBe(1);
  expect(lambda.log()).not.toMatch(/of-yesterday|test-token/);
  await lambda.close();
});

it('reads the addresses of sessions and of a replica again, too', async () => {
  const rotated = new URL(database.url);
  rotated.password = 'of-yesterday';
  const names = ['DATABASE_URL', 'DATABASE_URL_UNPOOLED', 'DATABASE_REPLICA_URL'];
  const put = (valid?: string) => {
    const urls = names.map((name) => [name, name === valid ? database.url : rotated.href]);
    secret = JSON.stringify({ ...EXAMPLE_ENVIRONMENT, ...Object.fromEntries(urls) });
  };
  const readReplica = ({ replica }: { replica: Pick<Queryable, 'select'> }) =>
    replica.select({ one: sql`1` }).from(sql`(select 1) as one`);
  const environment = { ...CREDENTIALS, SECRET_ID: 'app', AWS_ENDPOINT_URL_SECRETS_MANAGER: endpoint };
  put();
  const { database: db } = await createLambdaApp(environment);
  put('DATABASE_REPLICA_URL');
  await readReplica(db);
  put('DATABASE_URL_UNPOOLED');
  await db.session((session) => session.execute('select 1'));
  await db.close();

  secret = JSON.stringify({ ...EXAMPLE_ENVIRONMENT, DATABASE_URL: database.url });
  const { database: single } = await createLambdaApp(environment);
  await readReplica(single);
  await single.session((session) => session.execute('select 1'));
  await single.close();
});

it('asks again where Secrets Manager is busy', async () => {
  secret = variables(database.url);
  busy = 2;
  const lambda = await start();
  const event = await functionUrl.toEvent(new Request('https://api.example/health/live'));
  expect((await functionUrl.toResponse(await lambda.invoke(event))).status).toBe(200);
  expect(asked).toBe(3);
  await lambda.close();
  busy = 3;
  const other = await start();
  await expect(other.invoke({})).rejects.toThrow('The secret app cannot be read: 503 ThrottlingException');
  expect(asked).toBe(3);
  await other.close();
});

it('asks Secrets Manager of its own region, and keeps the cause where that does not answer', async () => {
  const cause = new TypeError('fetch failed');
  const answers = vi
    .fn<(request: Request) => Promise<Response>>()
    .mockResolvedValueOnce(Response.json({ SecretString: '{"API_TOKEN":"any"}' }))
    .mockRejectedValueOnce(cause);
  vi.stubGlobal('fetch', answers);
  onTestFinished(() => void vi.unstubAllGlobals());
  expect(await readSecret('app', CREDENTIALS)).toEqual({ API_TOKEN: 'any' });
  expect(answers.mock.calls[0]?.[0].url).toBe('https://secretsmanager.eu-central-1.amazonaws.com/');
  await expect(readSecret('app', CREDENTIALS)).rejects.toMatchObject({ cause });
});

it('waits for less than the ten seconds in which a function has to start', async () => {
  secret = '{}';
  const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(AbortSignal.abort()); // as if they had passed
  onTestFinished(() => timeout.mockRestore());
  const environment = { ...CREDENTIALS, AWS_ENDPOINT_URL_SECRETS_MANAGER: endpoint };
  await expect(readSecret('app', environment)).rejects.toThrow('Secrets Manager does not answer');
  expect(timeout.mock.lastCall?.[0]).toBeLessThan(10_000);
});

it.each([
  ['is missing', 'other', {}, /The secret other cannot be read: 400 ResourceNotFoundException/],
  [
    'nobody gives',
    'app',
    { AWS_ENDPOINT_URL_SECRETS_MANAGER: 'http://127.0.0.1:1' },
    /The secret app cannot be read: Secrets Manager does not answer/,
  ],
  ['belongs to others', 'app', { AWS_SECRET_ACCESS_KEY: 'another' }, /The secret app cannot be read: 400 AccessDenied/],
  ['is no object', 'app', {}, /The secret app must be a JSON object/],
  ['is a string', 'app', {}, /The secret app must be a JSON object/, '"hunter2"'],
  ['is a list', 'app', {}, /The secret app must be a JSON object/, '["hunter2"]'],
  ['is null', 'app', {}, /The secret app must be a JSON object/, 'null'],
  ['is out of reach', 'app', {}, /The secret app cannot be read: 404$/, OUT_OF_ORDER],
  ['is cut off', 'app', {}, /The secret app cannot be read: Secrets Manager does not answer/, BROKEN],
])(
  'does not start with a secret that %s, and says so',
  async (_, id, environment, message, text = 'postgresql://app:hunter2@host/app') => {
    secret = text;
    const lambda = await start(id, environment);
    await expect(lambda.invoke({})).rejects.toThrow(message);
    expect(lambda.log()).not.toContain('hunter2');
    await lambda.close();
  },
);
