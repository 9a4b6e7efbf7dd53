import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { Client } from '@neondatabase/serverless';
import { describe, expect, it, onTestFinished } from 'vitest';
import { packageFolder } from '../../scripts/package-folder.ts';
import { DRIVER_VERSION, fastClient } from '../../src/db/fast/client.ts';
import { answerChallenge, rememberSaltedPassword, verifyServerFinal } from '../../src/db/fast/scram.ts';

/** RFC 7677, section 3. */
const RFC = {
  password: 'pencil',
  clientFirst: 'n,,n=user,r=rOprNGfwEbeRWgbNEkqO',
  serverFirst: 'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
  clientFinal:
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
  serverSignature: '6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=',
};

const MALFORMED = { kind: 'connection', message: expect.stringContaining('no valid SCRAM message') };
const IMPOSTOR = { kind: 'auth', message: expect.stringContaining('impostor') };

describe('answerChallenge', () => {
  it('answers the example of RFC 7677', async () => {
    const { clientFinal, serverSignature } = RFC;
    expect(await answerChallenge(RFC)).toEqual({ clientFinal, serverSignature });
  });

  it.each([
    ['no nonce', 's=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096', MALFORMED],
    ['no salt', 'r=rOprNGfwEbeRWgbNEkqOx,i=4096', MALFORMED],
    ['no iteration count', 'r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==', MALFORMED],
    ['a salt that is not base64', 'r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SN,i=4096', MALFORMED],
    ['an empty salt', 'r=rOprNGfwEbeRWgbNEkqOx,s=,i=4096', MALFORMED],
    ['an unprintable nonce', 'r=rOprNGfwEbeRWgbNEkqO\u0007,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096', MALFORMED],
    ['an extension that has to be understood', `m=x,${RFC.serverFirst}`, MALFORMED],
    ['an iteration count of 0', RFC.serverFirst.replace('4096', '0'), MALFORMED],
    ['a negative one', RFC.serverFirst.replace('4096', '-1'), MALFORMED],
    ['one that is not a number', RFC.serverFirst.replace('4096', '4096x'), MALFORMED],
    ['nothing', '', MALFORMED],
    ['the nonce of another', RFC.serverFirst.replace('r=r', 'r=s'), IMPOSTOR],
    ["no more than the client's own nonce", 'r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096', IMPOSTOR],
    [
      '100,001 iterations',
      RFC.serverFirst.replace('4096', '100001'),
      { kind: 'auth', message: expect.stringContaining('100001 scram_iter') },
    ],
    [
      'as many iterations as take a message to say',
      RFC.serverFirst.replace('4096', '9'.repeat(1_000)),
      { kind: 'auth', message: expect.stringContaining('Infinity scram_iterations') },
    ],
    ['an error', 'e=unknown-user', { kind: 'auth', message: 'the server refused the log-in: unknown-user' }],
  ])('refuses %s', async (_, serverFirst, error) => {
    await expect(answerChallenge({ ...RFC, serverFirst })).rejects.toMatchObject({ name: 'DatabaseError', ...error });
  });

  it('takes 100,000 iterations, and extensions that may be ignored', async () => {
    const serverFirst = `${RFC.serverFirst.replace('4096', '100000')},x=y,e=x`;
    await expect(answerChallenge({ ...RFC, serverFirst })).resolves.toHaveProperty('clientFinal');
  });
});

describe('verifyServerFinal', () => {
  const verify = (serverFinal: string) => () => verifyServerFinal(serverFinal, RFC.serverSignature);

  it('takes the right signature, with and without extensions', () => {
    expect(verify(`v=${RFC.serverSignature}`)).not.toThrow();
    expect(verify(`v=${RFC.serverSignature},x=y`)).not.toThrow();
  });

  it.each([
    ['a forged signature', `v=7${RFC.serverSignature.slice(1)}`, IMPOSTOR],
    ['a part of the signature', `v=${RFC.serverSignature.slice(0, -4)}`, IMPOSTOR],
    ['an empty signature', 'v=', IMPOSTOR],
    ['no signature', '', MALFORMED],
    ['a signature behind something else', `x=y,v=${RFC.serverSignature}`, MALFORMED],
    ['an error', 'e=invalid-proof', { kind: 'auth', message: 'the server refused the log-in: invalid-proof' }],
  ])('refuses %s', (_, serverFinal, error) => {
    expect(verify(serverFinal)).toThrow(expect.objectContaining({ name: 'DatabaseError', ...error }));
  });
});

it('a password that was set again, to another or the same, is salted anew', async () => {
  const saltPassword = rememberSaltedPassword();
  const inputs = [
    ['pencil', 'W22ZaJ0SNY7soEsUEjb6gQ==', 1],
    ['pencil', 'W22ZaJ0SNY7soEsUEjb6gQ==', 2],
    ['pencil', 'W22ZaJ0SNY7soEsUEjb6gg==', 2],
    ['crayon', 'W22ZaJ0SNY7soEsUEjb6gg==', 2],
  ] as const;
  const salted = new Set<string>();
  for (const [password, salt, iterations] of inputs) {
    salted.add(Buffer.from(await saltPassword(password, salt, iterations)).toString('hex'));
  }
  expect(salted.size).toBe(inputs.length);
});

describe('fastClient', () => {
  it('is written for the driver that is installed', async () => {
    const file = path.join(packageFolder('@neondatabase/serverless'), 'package.json');
    expect(JSON.parse(await readFile(file, 'utf8'))).toHaveProperty('version', DRIVER_VERSION);
  });

  it('refuses a driver that lacks what it builds on', () => {
    const base: object = Object.getPrototypeOf(Client.prototype);
    const descriptor = Object.getOwnPropertyDescriptor(base, '_handleAuthSASL') ?? {};
    Reflect.deleteProperty(base, '_handleAuthSASL');
    onTestFinished(() => void Object.defineProperty(base, '_handleAuthSASL', descriptor));
    expect(() => fastClient()).toThrow('fast/ needs _handleAuthSASL of');
  });
});
