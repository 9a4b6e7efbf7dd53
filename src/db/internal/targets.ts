import { type ConnectionTarget, directTarget, parseConnectionString } from '../connection-string.ts';
import { createDeadline } from './deadline.ts';
import { DatabaseError } from '../error.ts';
import type { DatabaseOptions } from '../options.ts';

/** Milliseconds after which a replica that did not answer is asked again. */
export const REST_MS = 30_000;

/** Where each kind of address leads. */
export interface Targets {
  readonly pooled: ConnectionTarget;
  readonly direct: ConnectionTarget | undefined;
  readonly replica: ConnectionTarget | undefined;
  /** When the replica did not answer, or cancelled a read; by the date, as in pool.ts. */
  failedAt: number;
}

export type FindTargets = ReturnType<typeof createTargets>;

/**
 * @param connectMs how long a function may take to give a URL, in milliseconds
 * @throws {DatabaseError} when a URL that is a string cannot be used
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
    if (known && key === knownKey) return known;
    const [pooledUrl = '', directUrl, laggingUrl] = urls;
    const pooled = parseConnectionString(pooledUrl);
    const direct = directTarget(directUrl ? parseConnectionString(directUrl) : pooled);
    const replica = laggingUrl ? parseConnectionString(laggingUrl) : undefined;
    const warning = [pooled, direct, replica].map(roleWarning).find(Boolean);
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
   * Gives the targets: the same object for as long as the URLs are the same.
   * @param refused targets whose credentials the server has refused: functions are asked again
   */
  return (refused?: Targets): Targets | Promise<Targets> => {
    if (known && refused !== known) return known;
    // On Workers each request asks for itself: what one waits for ends with it, and another would wait for ever.
    return sockets === 'request' ? ask() : (asking ??= ask().finally(() => (asking = undefined)));
  };
}

/** What is wrong with an application that uses this role, and what to do about it; undefined when nothing is. */
export function roleWarning({ role, provider }: Partial<ConnectionTarget> = {}): string | undefined {
  const remedy = provider === 'planetscale' ? 'pscale role create' : 'CREATE USER app';
  return role === 'postgres' ? `The role "postgres" is not for applications: ${remedy}.` : undefined;
}
