import type { TransportName } from './transport.ts';

/** What application code asks for. Which transport carries it is decided here and nowhere else. */
export type Operation = 'one-shot' | 'batch' | 'transaction' | 'session';

export interface TransportChoice {
  transport: TransportName;
  /** `direct` reaches PostgreSQL itself; `pooled` may go through the provider's transaction pooler. */
  address: 'pooled' | 'direct';
  /** Why, in a sentence for people to read. */
  reason: string;
}

const TCP: TransportChoice = { transport: 'tcp', address: 'pooled', reason: 'It is available.' };
const HTTP: TransportChoice = { transport: 'http', address: 'pooled', reason: 'It needs no connection.' };
const SOCKET: TransportChoice = { transport: 'websocket', address: 'pooled', reason: 'It needs a connection.' };

/** For each operation, the choices in order of preference: the first one whose transport is available wins. */
const CHOICES: Record<Operation, readonly TransportChoice[]> = {
  'one-shot': [TCP, HTTP, SOCKET],
  batch: [TCP, HTTP, SOCKET],
  transaction: [TCP, SOCKET],
  session: [TCP, SOCKET].map((choice) => ({ ...choice, address: 'direct', reason: 'A pooler loses its state.' })),
};

/** The choice for an operation, given the transports that the entry has bundled; undefined if none of them can carry it. */
export function chooseTransport(operation: Operation, facts: { available: readonly TransportName[] }) {
  return CHOICES[operation].find(({ transport }) => facts.available.includes(transport));
}
