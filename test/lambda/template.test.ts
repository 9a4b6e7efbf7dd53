import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { expect, inject, it, onTestFinished, vi } from 'vitest';
import { type CollectionTag, parse, type ScalarTag, YAMLMap } from 'yaml';
import { zipFiles } from '../../scripts/build-lambda.ts';

const FUNCTIONS = fileURLToPath(new URL('../../functions/', import.meta.url));

/** CloudFormation's short forms, written out: `!Ref A` is `{ Ref: 'A' }`, `!If [A, B, C]` is `{ 'Fn::If': ['A', B, C] }`. */
const longForm = (tag: string) => (tag === '!Ref' ? 'Ref' : `Fn::${tag.slice(1)}`);
const ofScalar = (tag: string): ScalarTag => ({ tag, resolve: (value) => ({ [longForm(tag)]: value }) });
const ofList = (tag: string): CollectionTag => ({
  tag,
  collection: 'seq',
  resolve(list) {
    const map = new YAMLMap();
    map.set(longForm(tag), list);
    return map;
  },
});

interface Template {
  Parameters: Record<string, { Default: unknown; AllowedValues?: unknown[] }>;
  Conditions: Record<string, unknown>;
  Resources: Record<string, { Type: string; Properties: Record<string, unknown> }>;
  Outputs: Record<string, unknown>;
}

const template = parse(await readFile(path.join(FUNCTIONS, 'template.yaml'), 'utf8'), {
  customTags: [...['!Ref', '!GetAtt', '!Sub'].map(ofScalar), ...['!If', '!Not', '!Equals', '!Join'].map(ofList)],
}) as Template;
const { Parameters, Conditions, Resources } = template;
const api = Resources['Api']?.Properties ?? {};

function* pairs(node: unknown): Generator<[string, unknown]> {
  if (typeof node !== 'object' || node === null) return;
  for (const pair of Object.entries(node)) {
    yield pair;
    yield* pairs(pair[1]);
  }
}

/** Every value of a key, anywhere in the template. */
const valuesOf = <Value>(key: string) =>
  [...pairs(template)].filter(([name]) => name === key).map(([, value]) => value as Value);

it('refers to nothing that is not there, and declares nothing that is not used', () => {
  const references = new Set([
    ...valuesOf<string>('Ref'),
    ...valuesOf<string>('Fn::GetAtt').map((name) => name.split('.')[0] ?? ''),
    ...valuesOf<string>('Fn::Sub').flatMap((text) => [...text.matchAll(/\$\{([^}]+)\}/g)].map(([, name = '']) => name)),
  ]);
  // SAM makes a resource of the function's URL, with this name.
  const known = new Set([...Object.keys({ ...Parameters, ...Resources }), 'ApiUrl']);
  expect([...references].filter((name) => !name.startsWith('AWS::') && !known.has(name))).toEqual([]);
  expect(Object.keys(Parameters).filter((name) => !references.has(name))).toEqual([]);

  const conditions = valuesOf<[string]>('Fn::If').map(([name]) => name);
  expect(new Set(conditions)).toEqual(new Set(Object.keys(Conditions)));
});

it('deploys what the build makes: the handlers are there, in the zip that it names', async () => {
  expect(path.join(FUNCTIONS, String(api['CodeUri']))).toBe(
    fileURLToPath(new URL('../../dist/lambda.zip', import.meta.url)),
  );
  const handlers = (api['Handler'] as { 'Fn::If': string[] })['Fn::If'].slice(1);
  expect(handlers).toEqual(['lambda-stream.handler', 'lambda.handler']);
  for (const handler of handlers) {
    const [file = '', name = ''] = handler.split('.');
    const source = await readFile(pathToFileURL(path.join(inject('lambdaBundle'), `${file}.mjs`)), 'utf8');
    expect(source).toMatch(new RegExp(`export\\s*\\{[^}]*\\b${name}\\b`));
  }
  expect(api['Runtime']).toBe('nodejs24.x');
});

it('the zip of identical code is identical, whatever the time zone', async () => {
  const zips = new Set<string>();
  onTestFinished(() => void vi.unstubAllEnvs());
  for (const zone of ['America/St_Johns', 'UTC', 'Pacific/Kiritimati']) {
    vi.stubEnv('TZ', zone);
    zips.add((await zipFiles([path.join(FUNCTIONS, 'template.yaml')])).toString());
  }
  expect(zips.size).toBe(1);
});

it('keeps secrets out of the environment, and lets the function read its own secret and write its own log alone', () => {
  expect(Object.keys((api['Environment'] as { Variables: object }).Variables)).toEqual([
    'SECRET_ID',
    'DATABASE_TRANSPORT',
    'SECRET_VERSION',
  ]);
  const all = valuesOf<Record<string, unknown>[]>('Statement').flat();
  const statements = all.filter(({ Effect }) => Effect === 'Allow');
  const open = statements.filter(({ Resource }) => Resource === '*').flatMap(({ Action }) => Action as string[]);
  expect(open.filter((action) => !/^ec2:.*(NetworkInterface|Subnets|PrivateIpAddresses)/.test(action))).toEqual([]);
  expect(statements.filter(({ Action }) => JSON.stringify(Action).includes('*'))).toEqual([]);
  expect(valuesOf('ManagedPolicyArns')).toEqual([]);
  // What Lambda needs to make network interfaces is not for the code.
  expect(all.filter(({ Effect }) => Effect === 'Deny')).toMatchObject([
    {
      Action: 'ec2:*',
      Resource: '*',
      Condition: { ArnLike: { 'lambda:SourceFunctionArn': expect.anything() as unknown } },
    },
  ]);
});

it('has as many instances as the parameter says, and as the account allows without it', () => {
  const limit = { 'Fn::If': ['IsLimited', { Ref: 'ReservedConcurrency' }, { Ref: 'AWS::NoValue' }] };
  expect(api['ReservedConcurrentExecutions']).toEqual(limit);
  expect(Conditions['IsLimited']).toEqual({ 'Fn::Not': [{ 'Fn::Equals': [{ Ref: 'ReservedConcurrency' }, ''] }] });
  expect(Parameters['ReservedConcurrency']?.Default).toBe('');
});

it('is given parameters by samconfig.toml that it has, with values that it allows', async () => {
  const config = await readFile(path.join(FUNCTIONS, 'samconfig.toml'), 'utf8');
  const [, overrides = ''] = /^parameter_overrides = "(.*)"$/m.exec(config) ?? [];
  const given = overrides.split(' ').map((pair) => pair.split('=') as [string, string]);
  expect(given.length).toBeGreaterThan(0);
  for (const [name, value] of given) {
    expect(Parameters).toHaveProperty(name);
    expect(Parameters[name]?.AllowedValues ?? [value]).toContain(value);
  }
});

it('reads its secret anew for each preview, whose branch of the database is another, though its code be the same', async () => {
  const workflow = await readFile(path.join(FUNCTIONS, '../.github/workflows/preview.yml'), 'utf8');
  const { jobs } = parse(workflow) as { jobs: Record<string, { steps: { run?: string }[] }> };
  const [deploy = ''] = Object.values(jobs)
    .flatMap(({ steps }) => steps.map(({ run = '' }) => run))
    .filter((run) => run.includes('deploy:lambda'));
  const [, overrides = ''] = /--parameter-overrides (.*)$/m.exec(deploy) ?? [];
  const given = [...overrides.matchAll(/(\w+)=([^" ]*)/g)].map(([, name = '', value = '']) => [name, value] as const);
  expect(given.map(([name]) => name).filter((name) => !(name in Parameters))).toEqual([]);
  expect(new Map(given).get('SecretVersion')).toContain('$GITHUB_RUN_ID');
});
