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
    ['tcp', 'pooled', 'A pooled connection is at hand.'],
    ['http', 'pooled', 'One statement is one request.'],
    ['websocket', 'pooled', 'A socket carries it.'],
  ],
  batch: [
    ['tcp', 'pooled', 'A pooled connection is at hand.'],
    ['http', 'pooled', 'Known statements are one request.'],
    ['websocket', 'pooled', 'A socket carries it.'],
  ],
  transaction: [
    ['tcp', 'pooled', 'A pooled connection is at hand.'],
    ['websocket', 'pooled', 'A transaction needs a connection.'],
  ],
  session: [
    ['tcp', 'direct', 'A pooler loses session state.'],
    ['websocket', 'direct', 'A pooler loses session state.'],
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
