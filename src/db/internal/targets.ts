import { type ConnectionTarget, directTarget, parseConnectionString } from '../connection-string.ts';
import { createDeadline } from './deadline.ts';
import { DatabaseError } from '../error.ts';
import type { DatabaseOptions } from '../options.ts';

/** Milliseconds after which a replica that did not answer is tried again. */
export const REST_MS = 30_000;

/** Where each kind of address leads. */
export interface Targets {
  readonly pooled: ConnectionTarget;
  readonly direct: ConnectionTarget | undefined;
  readonly replica: ConnectionTarget | undefined;
  /** When the replica last failed to answer, or cancelled a read; by the wall clock, as in pool.ts. */
  failedAt: number;
}

export type FindTargets = ReturnType<typeof createTargets>;

/**
 * @param connectMs how long a function may take to return a URL, in milliseconds
 * @throws {DatabaseError} when a URL given as a string cannot be used
 */
export function createTargets(
  { url, unpooledUrl, replicaUrl, sockets }: DatabaseOptions<unknown>,
  connectMs: number,
  onWarning: (message: string) => void,
) {
  const sources = [url, unpooledUrl, replicaUrl];
  let known: Targets | undefined;
  let knownKey: string | undefined; // not in the targets: it holds passwords
  let asking: Promise<Targets> | undefined;

  const resolve = (urls: (string | undefined)[]): Targets => {
    const key = urls.join('\n');
    if (key === knownKey) return known as Targets;
    const [pooledUrl = '', directUrl, laggingUrl] = urls;
    const pooled = parseConnectionString(pooledUrl);
    const direct = directTarget(directUrl ? parseConnectionString(directUrl) : pooled);
    const replica = laggingUrl ? parseConnectionString(laggingUrl) : undefined;
    const warning = roleWarning(pooled) ?? roleWarning(direct) ?? roleWarning(replica);
    if (warning && !known) onWarning(warning);
    knownKey = key;
    return (known = { pooled, direct, replica, failedAt: 0 });
  };

  const ask = async () => {
    const { limit, race } = createDeadline();
    const reading = Promise.all(sources.map(async (source) => (typeof source === 'function' ? source() : source)));
    const refuse = (cause: unknown) => {
      throw new DatabaseError('Finding the database URL failed', { kind: 'connection', cause, retryable: true });
    };
    return resolve(await limit('Finding the database URL', connectMs, () => race(reading.catch(refuse))));
  };

  if (sources.every((source) => typeof source !== 'function')) resolve(sources);

  /**
   * Returns the targets: the same object as long as the URLs stay the same.
   * @param refused targets whose credentials the server has refused: functions are called again
   */
  return (refused?: Targets): Targets | Promise<Targets> => {
    if (known && refused !== known) return known;
    // On Workers, each request asks for itself: what a request waits for ends with it, and another would wait forever.
    return sockets === 'request' ? ask() : (asking ??= ask().finally(() => (asking = undefined)));
  };
}

/** Why an application should not use this role, and what to do about it; undefined if it may. */
export function roleWarning({ role, provider }: Partial<ConnectionTarget> = {}): string | undefined {
  const remedy = provider === 'planetscale' ? 'pscale role create' : 'CREATE USER app';
  return role === 'postgres' ? `The role "postgres" is not for applications: ${remedy}.` : undefined;
}
