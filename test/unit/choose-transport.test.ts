import { describe, expect, it } from 'vitest';
import { chooseTransport } from '../../src/db/choose-transport.ts';

describe('chooseTransport', () => {
  it.each([
    ['one-shot', ['http', 'websocket'], 'http', 'pooled'],
    ['batch', ['http', 'websocket'], 'http', 'pooled'],
    ['transaction', ['http', 'websocket'], 'websocket', 'pooled'],
    ['session', ['http', 'websocket'], 'websocket', 'direct'],
    ['one-shot', ['websocket'], 'websocket', 'pooled'],
    ['batch', ['websocket'], 'websocket', 'pooled'],
    ['one-shot', ['tcp'], 'tcp', 'pooled'],
    ['batch', ['tcp'], 'tcp', 'pooled'],
    ['transaction', ['tcp'], 'tcp', 'pooled'],
    ['session', ['tcp'], 'tcp', 'direct'],
  ] as const)('sends a %s with %j over %s', (operation, available, transport, address) => {
    const choice = chooseTransport(operation, { available });
    expect(choice).toMatchObject({ transport, address });
    expect(choice?.reason).toMatch(/\.$/);
  });

  it.each(['transaction', 'session'] as const)('has no way to run a %s over HTTP alone', (operation) => {
    expect(chooseTransport(operation, { available: ['http'] })).toBeUndefined();
  });
});
