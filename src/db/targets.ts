import { type ConnectionTarget, directTarget, parseConnectionString, roleWarning } from './connection-string.ts';
import { DatabaseError } from './error.ts';

/** A `postgresql://` URL, or what finds it out: it is asked at the first use, and once more when a log-in fails. */
export type DatabaseUrl = string | (() => string | Promise<string>);

export interface DatabaseUrls {
  /** The application's role; it may lead through the provider's pooler. */
  url: DatabaseUrl;
  /** The same database without a pooler, for sessions. Default: `url`, less Neon's or PlanetScale's pooler. */
  unpooledUrl?: DatabaseUrl | undefined;
  /** A server whose data may lag, for `db.replica`. Default: none. */
  replicaUrl?: DatabaseUrl | undefined;
}

/** Where each kind of address leads. */
export interface Targets {
  pooled: ConnectionTarget;
  direct: ConnectionTarget | undefined;
  replica: ConnectionTarget | undefined;
}

export interface TargetSource {
  current(): Promise<Targets>;
  /** Asks for the URLs again, after the server refused `failed`. @returns whether they lead elsewhere now */
  refresh(failed: Targets): Promise<boolean>;
  /** Leaves the replica alone for a while, after it did not answer. */
  restReplica(): void;
  replicaRests(): boolean;
}

/** Milliseconds after which a replica that did not answer is asked again. */
const REST_MS = 30_000;

/** @throws {DatabaseError} when a URL that is a string cannot be used */
export function createTargetSource(urls: DatabaseUrls, onWarning: (message: string) => void): TargetSource {
  let known: { asText: string; targets: Targets } | undefined;
  let asking: Promise<Targets> | undefined;
  let restsUntil = 0;

  const resolve = (url: string, unpooledUrl?: string, replicaUrl?: string): Targets => {
    const asText = [url, unpooledUrl, replicaUrl].join('\n');
    if (known?.asText === asText) return known.targets;
    const pooled = parseConnectionString(url);
    const direct = directTarget(unpooledUrl === undefined ? pooled : parseConnectionString(unpooledUrl));
    const targets = {
      pooled,
      direct,
      replica: replicaUrl === undefined ? undefined : parseConnectionString(replicaUrl),
    };
    const warning = known ? undefined : roleWarning(pooled);
    if (warning !== undefined) onWarning(warning);
    known = { asText, targets };
    return targets;
  };

  const ask = async () => {
    const [url, ...others] = await Promise.all([read(urls.url), read(urls.unpooledUrl), read(urls.replicaUrl)]);
    return resolve(url ?? '', ...others);
  };

  const { url, unpooledUrl, replicaUrl } = urls;
  const fixed = typeof url !== 'function' && typeof unpooledUrl !== 'function' && typeof replicaUrl !== 'function';
  if (fixed) resolve(url, unpooledUrl, replicaUrl);

  const askOnce = () => (asking ??= ask().finally(() => (asking = undefined)));
  return {
    current: async () => known?.targets ?? askOnce(),
    async refresh(failed) {
      if (fixed) return false;
      return known?.targets !== failed || (await askOnce()) !== failed;
    },
    restReplica: () => (restsUntil = Date.now() + REST_MS),
    replicaRests: () => Date.now() < restsUntil,
  };
}

async function read(url: DatabaseUrl | undefined): Promise<string | undefined> {
  try {
    return typeof url === 'function' ? await url() : url;
  } catch (cause) {
    const message = 'The function that gives the database URL failed.';
    throw new DatabaseError(message, { kind: 'connection', retryable: true, cause });
  }
}
