import type { Parameters } from './postgres-messages.ts';

/** What Neon's proxy reads in a start-up message, besides extensions of the protocol: it silently drops the rest. */
const HEARD = new Set(['user', 'database', 'application_name', 'replication', 'options']);

/** One of `options`: up to ASCII whitespace that no backslash precedes. */
const OPTION = /(?:\\.|[^ \t\n\f\r])+/gs;

/** Options for the proxy itself: the endpoint's name, and its own. */
const FOR_THE_PROXY = /^(?:(?:endpoint|project)=|neon_\w+:.)/;

/** Makes it pass on everything. */
const EVERYTHING = /^neon_proxy_params_compat:./;

/**
 * A start-up message's parameters as they reach the server, or the pooler, behind Neon's proxy.
 * https://github.com/neondatabase/neon/blob/main/proxy/src/compute/mod.rs
 */
export function behindProxy(asked: Parameters): Parameters {
  const given = asked['options']?.match(OPTION) ?? [];
  const options = given.filter((option) => !FOR_THE_PROXY.test(option)).join(' ');
  const all = given.some((option) => EVERYTHING.test(option));
  const heard = Object.entries({ ...asked, options }).filter(
    ([name, value]) => (all || HEARD.has(name) || name.startsWith('_pq_.')) && (name !== 'options' || value !== ''),
  );
  return { client_encoding: 'UTF8', ...Object.fromEntries(heard) };
}
