import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { inject } from 'vitest';
import { startRuntimeApi } from './runtime-api.ts';

export interface FunctionOptions {
  /** `file.export` in the bundle. */
  handler: string;
  environment: Record<string, string>;
  /** What runs it: our small runtime, or AWS's own. */
  runtime?: string[];
}

export interface LambdaFunction {
  pid: number;
  invoke: (event: unknown) => Promise<Response>;
  /** What it wrote to its log so far. */
  log: () => string;
  close: () => Promise<void>;
}

/** Runs the built bundle in a process of its own, with the environment that Lambda gives it. */
export async function startFunction({ handler, environment, runtime }: FunctionOptions): Promise<LambdaFunction> {
  const api = await startRuntimeApi();
  const child = spawn(process.execPath, runtime ?? [fileURLToPath(new URL('bootstrap.ts', import.meta.url))], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      AWS_LAMBDA_RUNTIME_API: api.address,
      _HANDLER: handler,
      LAMBDA_TASK_ROOT: inject('lambdaBundle'),
      AWS_LAMBDA_FUNCTION_NAME: 'app',
      AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
      AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '512',
      AWS_LAMBDA_LOG_GROUP_NAME: '/aws/lambda/app',
      AWS_LAMBDA_LOG_STREAM_NAME: 'local',
      AWS_REGION: 'us-east-1',
      ...environment,
    },
  });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (log += String(chunk)));
  const exited = once(child, 'close');
  return {
    pid: child.pid ?? 0,
    invoke: (event) =>
      Promise.race([
        api.invoke(event),
        exited.then(() => {
          throw new Error(`the function's process has ended:\n${log}`);
        }),
      ]),
    log: () => log,
    async close() {
      child.kill('SIGKILL');
      await exited;
      await api.close();
    },
  };
}
