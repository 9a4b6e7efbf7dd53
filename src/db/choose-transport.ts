import type { TransportName } from './transport.ts';

/** What application code asks for; which transport carries it is decided here and nowhere else. */
export type Operation = 'one-shot' | 'batch' | 'transaction' | 'session';

export interface TransportChoice {
  transport: TransportName;
  /** `direct` reaches PostgreSQL itself; `pooled` may go through the provider's transaction pooler. */
  address: 'pooled' | 'direct';
  /** Why, in a sentence for a person. */
  reason: string;
}

const TCP: TransportChoice = { transport: 'tcp', address: 'pooled', reason: 'It is available.' };
const HTTP: TransportChoice = { transport: 'http', address: 'pooled', reason: 'One request is enough.' };
const SOCKET: TransportChoice = { transport: 'websocket', address: 'pooled', reason: 'It needs a connection.' };

/** For each operation the choices in order of preference: the first whose transport is available is taken. */
const CHOICES: Record<Operation, readonly TransportChoice[]> = {
  'one-shot': [TCP, HTTP, SOCKET],
  batch: [TCP, HTTP, SOCKET],
  transaction: [TCP, SOCKET],
  session: [TCP, SOCKET].map((choice) => ({ ...choice, address: 'direct', reason: 'A pooler loses session state.' })),
};

/** Which of the transports that the entry has put into its bundle carries an operation; undefined when none can. */
export function chooseTransport(operation: Operation, facts: { available: readonly TransportName[] }) {
  return CHOICES[operation].find(({ transport }) => facts.available.includes(transport));
}
