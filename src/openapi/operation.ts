import type { ExtractSchema } from 'hono/types';
import type { GenericSchema } from 'valibot';
import type { App } from '../create-app.ts';
import type { ProblemName } from '../problem.ts';

/** Nothing in this folder goes into a bundle: `npm run openapi` generates the document from it. */

type Routes = ExtractSchema<App>;

/** The operations of the document, by path and method as in a typed client: every route, and nothing else. */
export type Operations = {
  [Path in keyof Routes]: { [Method in keyof Routes[Path]]: Operation<Routes[Path][Method]> };
};

/** What the document says about a route, besides what holds for all of them. */
export type Operation<Route = { input: Partial<Record<Target, unknown>>; output: unknown }> = {
  /** The name that client generators give it. */
  operationId: string;
  summary: string;
  /** Whether it needs no token. */
  open?: true;
  /** By status; a problem's status may be here as well, for its headers. `mediaType` is that of a body that is not JSON. */
  responses: Record<number, { json?: OutputSchema<Route>; mediaType?: string; headers?: GenericSchema }>;
  /** Those that this route may answer with and not every route does. */
  problems?: readonly ProblemName[];
} & RequestSchemas<Route>;

/** A part of a request that the document can describe. */
type Target = 'param' | 'query' | 'header' | 'json';

/** The schemas that the route validates with, by part of the request. */
type RequestSchemas<Route> = Route extends { input: infer Input }
  ? { [Part in keyof Input]: Part extends Target ? GenericSchema<Input[Part], unknown> : never }
  : never;

/** The schema of the JSON that the route answers with. */
type OutputSchema<Route> = Route extends { output: infer Output } ? GenericSchema<unknown, Output> : never;
