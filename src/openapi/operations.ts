import * as v from 'valibot';
import {
  currency,
  idempotencyHeader,
  idParam,
  newAccount,
  newTransfer,
  pageById,
  statementPage,
} from '../routes/schemas.ts';
import { healthOperations } from './health.ts';
import type { Operations } from './operation.ts';

/** What responses contain. */

const id = v.pipe(v.string(), v.uuid());
const instant = v.pipe(v.string(), v.isoTimestamp());
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const minorUnits = v.pipe(v.number(), v.safeInteger(), v.description('In minor units.'));
const nextCursor = v.pipe(v.nullable(v.string()), v.description('The `cursor` of the next page; null on the last.'));

const account = v.object({
  id,
  name: v.string(),
  currency,
  kind: v.picklist(['ordinary', 'external']),
  balance: minorUnits,
  createdAt: instant,
});

const accountPage = v.object({ items: v.array(account), nextCursor });

const statement = v.object({
  account,
  openingBalance: minorUnits,
  closingBalance: minorUnits,
  items: v.array(
    v.object({ sequence: count, transferId: id, amount: minorUnits, balanceAfter: minorUnits, createdAt: instant }),
  ),
  nextCursor,
});

const transfer = v.object({
  id,
  fromAccountId: id,
  toAccountId: id,
  amount: minorUnits,
  currency,
  memo: v.nullable(v.string()),
  createdAt: instant,
});

const reconciliation = v.object({
  balanced: v.boolean(),
  accounts: count,
  transfers: count,
  entries: count,
  differences: v.array(
    v.object({
      what: v.picklist(['balance', 'sequence', 'amount']),
      account: id,
      transfer: v.optional(id),
      expected: v.number(),
      actual: v.number(),
    }),
  ),
});

/** The schemas that have a name in the document. */
export const schemas = {
  Account: account,
  AccountPage: accountPage,
  NewAccount: newAccount,
  Statement: statement,
  Transfer: transfer,
  NewTransfer: newTransfer,
  Reconciliation: reconciliation,
};

const location = { Location: v.pipe(v.string(), v.description('The path of the created resource.')) };
const replayed = {
  'Idempotency-Replayed': v.optional(
    v.pipe(v.literal('true'), v.description('Present if the response is that of an earlier request with this key.')),
  ),
};

export const operations = {
  ...healthOperations,
  '/accounts': {
    $get: {
      operationId: 'listAccounts',
      summary: 'List the accounts, the oldest first, page by page',
      query: pageById,
      responses: { 200: { json: accountPage } },
    },
    $post: {
      operationId: 'openAccount',
      summary: 'Open an account with a balance of zero',
      json: newAccount,
      responses: { 201: { json: account, headers: v.object(location) } },
    },
  },
  '/accounts/:id': {
    $get: {
      operationId: 'getAccount',
      summary: 'Read an account',
      param: idParam,
      responses: { 200: { json: account } },
      problems: ['not-found'],
    },
  },
  '/accounts/:id/statement': {
    $get: {
      operationId: 'getStatement',
      summary: "Read an account's entries in sequence, page by page, with the balances around them",
      param: idParam,
      query: statementPage,
      responses: { 200: { json: statement } },
      problems: ['not-found'],
    },
  },
  '/transfers': {
    $post: {
      operationId: 'makeTransfer',
      summary: 'Move money between two accounts, once for each idempotency key',
      header: idempotencyHeader,
      json: newTransfer,
      responses: {
        201: { json: transfer, headers: v.object({ ...location, ...replayed }) },
        422: { headers: v.object(replayed) },
      },
      problems: [
        'request-in-progress',
        'idempotency-key-reused',
        'same-account',
        'unknown-account',
        'currency-mismatch',
        'insufficient-funds',
        'balance-out-of-range',
      ],
    },
  },
  '/transfers/:id': {
    $get: {
      operationId: 'getTransfer',
      summary: 'Read a transfer',
      param: idParam,
      responses: { 200: { json: transfer } },
      problems: ['not-found'],
    },
  },
  '/reconciliations': {
    $post: {
      operationId: 'reconcile',
      summary: 'Check the books, one reconciliation at a time',
      responses: { 200: { json: reconciliation } },
      problems: ['reconciliation-in-progress'],
    },
  },
} satisfies Operations;
