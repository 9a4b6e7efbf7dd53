import type { Parameters } from './postgres-messages.ts';

/** What Neon's proxy hears of a start-up message, but for extensions of the protocol: what else is in it is dropped without a word. */
const HEARD = new Set(['user', 'database', 'application_name', 'replication', 'options']);

/** One of `options`: up to a space of ASCII that no backslash stands before. */
const OPTION = /(?:\\.|[^ \t\n\f\r])+/gs;

/** What is for the proxy: the endpoint's name, and its own options. */
const FOR_THE_PROXY = /^(?:(?:endpoint|project)=|neon_\w+:.)/;

/** Has it pass on everything. */
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
