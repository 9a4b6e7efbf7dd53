/** What is wrong with the code: the message alone does not say where. */
const BUGS = [SyntaxError, ReferenceError, TypeError, RangeError];

/** An error's message and, on a line of its own, PostgreSQL's hint, if the error comes from there; where it is, if it is in the code. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.stack && BUGS.some((bug) => error instanceof bug)) return error.stack.replaceAll(/\n +at .*\bnode:.*/g, '');
  const hint = hintOf(error);
  return hint === undefined ? error.message : `${error.message}\nHint: ${hint}`;
}

function hintOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { hint } = error as { hint?: unknown };
  return typeof hint === 'string' ? hint : hintOf(error.cause);
}
