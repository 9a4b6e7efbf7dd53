import { serialize } from 'pg-protocol';

/** A statement of the extended protocol: one, unnamed, with its parameters as text. */
export interface Statement {
  query: string;
  params: readonly (string | null)[];
  /** Whether the server is to say what columns it answers with. */
  describe: boolean;
}

/** Statements that the server runs one after another, up to the first that fails; then one Sync. */
export function encodeFlight(statements: readonly Statement[]): Buffer {
  const messages = statements.flatMap(({ query, params, describe }) => [
    serialize.parse({ text: query }),
    serialize.bind({ values: [...params] }),
    ...(describe ? [serialize.describe({ type: 'P' })] : []),
    serialize.execute(),
  ]);
  return Buffer.concat([...messages, serialize.sync()]);
}
