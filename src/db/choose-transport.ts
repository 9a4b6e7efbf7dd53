import type { TransportName } from './error.ts';

/** What application code asks for; which transport carries it is decided here and nowhere else. */
export type Operation = 'one-shot' | 'batch' | 'transaction' | 'session';

export interface TransportChoice {
  transport: TransportName;
  /** `direct` reaches PostgreSQL itself; `pooled` may go through the provider's transaction pooler. */
  address: 'pooled' | 'direct';
  /** Why, in a sentence for a person. */
  reason: string;
}

/** For each operation the choices in order of preference: the first whose transport is available is taken. */
const CHOICES: Record<Operation, readonly [TransportName, TransportChoice['address'], reason: string][]> = {
  'one-shot': [
    ['tcp', 'pooled', 'A pooled TCP connection is at hand: one round trip.'],
    ['http', 'pooled', 'One statement needs no connection of its own: one HTTP request.'],
    ['websocket', 'pooled', 'There is no HTTP transport: a socket carries the statement.'],
  ],
  batch: [
    ['tcp', 'pooled', 'BEGIN, the statements and COMMIT leave together: one round trip.'],
    ['http', 'pooled', 'Statements known beforehand are one atomic HTTP request.'],
    ['websocket', 'pooled', 'There is no HTTP transport: a socket carries the batch.'],
  ],
  transaction: [
    ['tcp', 'pooled', 'A transaction needs one connection: a pooled TCP one is at hand.'],
    ['websocket', 'pooled', 'A transaction needs one connection: a socket.'],
  ],
  session: [
    ['tcp', 'direct', 'A transaction pooler loses session state: a direct connection.'],
    ['websocket', 'direct', 'A transaction pooler loses session state: a direct socket.'],
  ],
};

/**
 * Which transport carries an operation, and why.
 * @param facts the transports that the entry has put into its bundle
 * @returns undefined when none of them can
 */
export function chooseTransport(
  operation: Operation,
  { available }: { available: readonly TransportName[] },
): TransportChoice | undefined {
  const choice = CHOICES[operation].find(([transport]) => available.includes(transport));
  return choice && { transport: choice[0], address: choice[1], reason: choice[2] };
}
