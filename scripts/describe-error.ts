/** An error's message and, on a line of its own, PostgreSQL's hint, if the error comes from there. */
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
