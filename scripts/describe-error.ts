/** What an error says, and in a line of its own what PostgreSQL advises, where the error comes from there. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const hint = hintOf(error);
  return hint === undefined ? error.message : `${error.message}\nHint: ${hint}`;
}

function hintOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { hint } = error as { hint?: unknown };
  return typeof hint === 'string' ? hint : hintOf(error.cause);
}
