import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { TransportName } from '../src/db/transport.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { describeExample, EXAMPLE } from './example-contract.ts';
import { documented } from './openapi.ts';
import { apiToken } from './token.ts';

/** An API to be tested, wherever it runs. */
export interface Target {
  /** Takes a path and answers as the API does. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  close(): Promise<void>;
}

/** What differs between platforms by design. */
export interface Capabilities {
  /** What the deployment carries. */
  transports: readonly TransportName[];
}

export interface TargetOptions {
  databaseUrl: string;
  apiToken: string;
}

/** A port of this machine where nobody listens: 1 is reserved (tcpmux). */
export const NOBODY = 'postgresql://app:nobody@127.0.0.1:1/app';

type Call = Omit<RequestInit, 'headers'> & { headers?: Record<string, string> };

/** How the example's part of the contract asks the API. */
export interface Asked {
  database: () => TestDatabase;
  /** With the token. */
  call: (path: string, init?: Call) => Promise<Response>;
  post: (path: string, body: unknown, headers?: Record<string, string>) => Promise<Response>;
  json: <Body>(response: Response) => Promise<Body>;
  expectProblem: (response: Response, status: number, name: string) => Promise<ProblemBody>;
}

/** What tests of something else ask the API for, which is about the example. */
export interface Example {
  /**
   * Lists; it takes a POST of this body, too, any number of times. What that needs in the database, `migrate` of
   * test/global-setup.ts puts in.
   */
  path: string;
  body: object;
  /** Of what is listed. */
  table: string;
  /** Requests without a body, and POSTs with one, that need the database. */
  reads: [method: string, path: string][];
  writes: [path: string, body: object][];
}

interface ProblemBody {
  detail?: string;
  type: string;
  status: number;
  errors?: { pointer: string; detail: string }[];
}

/** The API's whole behaviour: every route with every status that it can answer. */
export function describeContract(
  platform: string,
  start: (options: TargetOptions) => Promise<Target>,
  { transports }: Capabilities = { transports: ['http', 'websocket'] },
): void {
  describe(`the API on ${platform}`, () => {
    let database: TestDatabase;
    let api: Target;
    let withoutDatabase: Target;

    beforeAll(async () => {
      database = await createTestDatabase();
      api = documented(await start({ databaseUrl: database.url, apiToken }));
      withoutDatabase = documented(await start({ databaseUrl: NOBODY, apiToken }));
    });

    afterAll(async () => {
      await api.close();
      await withoutDatabase.close();
      await database.close();
    });

    const call = (path: string, init: Call = {}, target = api) =>
      target.fetch(path, { ...init, headers: { Authorization: `Bearer ${apiToken}`, ...init.headers } });

    const post = (path: string, body: unknown, headers: Record<string, string> = {}, target = api) =>
      call(
        path,
        {
          method: 'POST',
          body: typeof body === 'string' ? body : JSON.stringify(body),
          headers: { 'Content-Type': 'application/json', ...headers },
        },
        target,
      );

    const json = async <Body>(response: Response): Promise<Body> => (await response.json()) as Body;

    const expectProblem = async (response: Response, status: number, name: string): Promise<ProblemBody> => {
      const body = await json<ProblemBody>(response);
      expect(body).toMatchObject({ type: `urn:problem:${name}`, status });
      expect(response.status).toBe(status);
      expect(response.headers.get('Content-Type')).toBe('application/problem+json');
      return body;
    };

    describe('health', () => {
      it('is live without a token and without a database', async () => {
        const response = await withoutDatabase.fetch('/health/live');
        expect(response.status).toBe(200);
        expect(await response.json()).toEqual({ status: 'live' });
      });

      it('is ready when the database answers over each transport', async () => {
        // As a load balancer does: on a busy machine the first answer may take longer than the route waits.
        const isReady = async () => {
          const response = await api.fetch('/health/ready');
          expect(response.status).toBe(200);
          expect(await response.json()).toEqual({ status: 'ready', transports });
        };
        await vi.waitFor(isReady, { timeout: 60_000, interval: 500 });
      });

      it('is not ready without a database', async () => {
        const response = await withoutDatabase.fetch('/health/ready');
        await expectProblem(response, 503, 'database-unavailable');
        expect(response.headers.get('Retry-After')).toMatch(/^\d+$/);
      });
    });

    describe('authentication and routing', () => {
      // https://www.rfc-editor.org/rfc/rfc6750#section-3.1
      it.each([
        [undefined, 'realm="api"'],
        ['Basic dXNlcjpwYXNz', 'realm="api"'],
        ['Bearer', 'realm="api"'],
        ['Bearer a b', 'realm="api"'],
        ['Bearer wrong-token-0123456789', 'error="invalid_token"'],
      ])('refuses the authorization %s', async (authorization, challenge) => {
        const headers = authorization === undefined ? {} : { Authorization: authorization };
        const response = await api.fetch(EXAMPLE.path, { headers });
        await expectProblem(response, 401, 'unauthorized');
        expect(response.headers.get('WWW-Authenticate')).toBe(`Bearer ${challenge}`);
      });

      it('answers an unknown path with 404', async () => {
        await expectProblem(await call('/nowhere'), 404, 'not-found');
      });

      it('answers a wrong method with 405 and the right ones', async () => {
        const response = await call(EXAMPLE.path, { method: 'DELETE' });
        await expectProblem(response, 405, 'method-not-allowed');
        expect(response.headers.get('Allow')).toBe('GET, HEAD, POST');
      });

      it('lets nobody keep a response, or take it for something else', async () => {
        const responses = ['/health/live', '/health/ready', EXAMPLE.path, '/nowhere'].map((path) => call(path));
        for (const { headers } of await Promise.all([...responses, api.fetch(EXAMPLE.path)])) {
          expect(headers.get('Cache-Control')).toBe('no-store');
          expect(headers.get('X-Content-Type-Options')).toBe('nosniff');
        }
      });

      it('gives each response a request id, the caller’s if it sent one', async () => {
        expect((await call(EXAMPLE.path)).headers.get('X-Request-Id')).toMatch(/^[\w-]{36}$/);
        const response = await call(EXAMPLE.path, { headers: { 'X-Request-Id': 'my-request' } });
        expect(response.headers.get('X-Request-Id')).toBe('my-request');
      });
    });

    describeExample({ database: () => database, call, post, json, expectProblem });

    describe('failures', () => {
      it('answers an unexpected error with 500, a request id, and nothing of the error', async () => {
        await database.query(`alter table ${EXAMPLE.table} rename to away`);
        try {
          const response = await call(EXAMPLE.path);
          const text = await response.clone().text();
          await expectProblem(response, 500, 'internal-error');
          expect(text).toContain(`urn:request:${response.headers.get('X-Request-Id')}`);
          expect(text).not.toMatch(new RegExp(`${EXAMPLE.table}|relation|42P01`));
        } finally {
          await database.query(`alter table away rename to ${EXAMPLE.table}`);
        }
      });

      it.each(EXAMPLE.reads)('answers %s %s with 503 while the database is away', async (method, path) => {
        const response = await call(path, { method }, withoutDatabase);
        await expectProblem(response, 503, 'database-unavailable');
        expect(response.headers.get('Retry-After')).toMatch(/^\d+$/);
      });

      it.each(EXAMPLE.writes)('answers a POST to %s with 503 while the database is away', async (path, body) => {
        const response = await post(path, body, { 'Idempotency-Key': 'k' }, withoutDatabase);
        await expectProblem(response, 503, 'database-unavailable');
      });
    });
  });
}
