import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';

interface Failure {
  code: number;
  stderr: string;
}

const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as { scripts: Record<string, string> };

/** Those with a HELP: another would be run. What they do not know, those that are not strict pass on. */
const commands = Object.entries(scripts).flatMap(([name, command]) => {
  const args = /^(?:exec )?node (.+\.ts)$/.exec(command)?.[1]?.split(' ');
  const source = args ? readFileSync(args.at(-1) as string, 'utf8') : '';
  return args && /\bHELP\b/.test(source) && !source.includes('strict: false') ? [[name, args] as const] : [];
});

const execute = (args: string[], option: string) => promisify(execFile)(process.execPath, [...args, option]);

describe.concurrent('npm run', () => {
  it.each(commands)('%s says what it does, and where it says so', async (name, args) => {
    const { stdout } = await execute(args, '--help');
    expect(stdout).toContain(`Usage: npm run ${name}`);
    await expect(execute(args, '--nonsense')).rejects.toSatisfy(({ code, stderr }: Failure) => {
      expect(stderr).toMatch(/^\S*Unknown option '--nonsense'/);
      expect(stderr).toContain(`See npm run ${name} -- --help`);
      return code === 1;
    });
  });

  it('openapi refuses a server without https://', async () => {
    const { stdout } = await execute(['scripts/openapi.ts'], '--server=https://api.example');
    expect(JSON.parse(stdout)).toMatchObject({ servers: [{ url: 'https://api.example' }] });
    await expect(execute(['scripts/openapi.ts'], '--server=api.example')).rejects.toSatisfy(
      ({ code, stderr }: Failure) => code === 1 && stderr.includes('not "api.example"'),
    );
  });
});
