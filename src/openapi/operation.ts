import type { ExtractSchema } from 'hono/types';
import type { GenericSchema } from 'valibot';
import type { App } from '../create-app.ts';
import type { ProblemName } from '../problem.ts';

/** Nothing in this folder is in a bundle: `npm run openapi` makes the document of it. */

type Routes = ExtractSchema<App>;

/** The operations of the document, by path and method as a typed client has them: every route, and no other. */
export type Operations = {
  [Path in keyof Routes]: { [Method in keyof Routes[Path]]: Operation<Routes[Path][Method]> };
};

/** What the document says of a route, besides what holds for all of them. */
export type Operation<Route = { input: Partial<Record<Target, unknown>>; output: unknown }> = {
  /** What generators of clients call it. */
  operationId: string;
  summary: string;
  /** Whether it takes no token. */
  open?: true;
  /** By status; headers also where it is that of a problem. */
  responses: Record<number, { json?: OutputSchema<Route>; headers?: GenericSchema }>;
  /** Those that this route answers with and not every one does. */
  problems?: readonly ProblemName[];
} & RequestSchemas<Route>;

/** A part of a request that the document can describe. */
type Target = 'param' | 'query' | 'header' | 'json';

/** The schemas that the route validates with, by the part of the request. */
type RequestSchemas<Route> = Route extends { input: infer Input }
  ? { [Part in keyof Input]: Part extends Target ? GenericSchema<Input[Part], unknown> : never }
  : never;

/** Of the JSON that the route answers with. */
type OutputSchema<Route> = Route extends { output: infer Output } ? GenericSchema<unknown, Output> : never;
