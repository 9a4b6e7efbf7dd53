import type { TransportName } from './error.ts';

/** What application code asks for; which transport carries it is decided here and nowhere else. */
export type Operation = 'one-shot' | 'batch' | 'transaction' | 'session';

export interface TransportFacts {
  /** The transports that the entry has put into its bundle. */
  available: readonly TransportName[];
}

export interface TransportChoice {
  transport: TransportName;
  /** `direct` reaches PostgreSQL itself; `pooled` may go through the provider's transaction pooler. */
  address: 'pooled' | 'direct';
  /** Why, in a sentence for a person. */
  reason: string;
}

/** For each operation the choices in order of preference: the first whose transport is available is taken. */
const CHOICES: Record<Operation, readonly TransportChoice[]> = {
  'one-shot': [
    { transport: 'tcp', address: 'pooled', reason: 'A pooled TCP connection is at hand: one round trip.' },
    { transport: 'http', address: 'pooled', reason: 'One statement needs no connection of its own: one HTTP request.' },
    {
      transport: 'websocket',
      address: 'pooled',
      reason: 'There is no HTTP transport, so a socket carries the statement.',
    },
  ],
  batch: [
    {
      transport: 'tcp',
      address: 'pooled',
      reason: 'BEGIN, the statements and COMMIT leave pipelined: one round trip.',
    },
    { transport: 'http', address: 'pooled', reason: 'Statements known beforehand are one atomic HTTP request.' },
    { transport: 'websocket', address: 'pooled', reason: 'There is no HTTP transport, so a socket carries the batch.' },
  ],
  transaction: [
    { transport: 'tcp', address: 'pooled', reason: 'A transaction needs one connection: a pooled TCP one is at hand.' },
    { transport: 'websocket', address: 'pooled', reason: 'A transaction reads, decides and writes on one connection.' },
  ],
  session: [
    {
      transport: 'tcp',
      address: 'direct',
      reason: 'Session state is lost in a transaction pooler: a direct connection.',
    },
    {
      transport: 'websocket',
      address: 'direct',
      reason: 'Session state is lost in a transaction pooler: a direct socket.',
    },
  ],
};

/**
 * Which transport carries an operation, and why.
 * @returns undefined when no available transport can
 */
export function chooseTransport(operation: Operation, facts: TransportFacts): TransportChoice | undefined {
  return CHOICES[operation].find(({ transport }) => facts.available.includes(transport));
}
