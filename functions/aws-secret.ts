import { AwsClient } from 'aws4fetch';

/** Milliseconds for all attempts; a function has ten seconds to start. */
const DEADLINE = 5_000;

type Variables = Record<string, string | undefined>;

/**
 * Reads variables from a secret of AWS Secrets Manager, a JSON object such as `{"DATABASE_URL": "…", "API_TOKEN": "…"}`.
 *
 * One signed request, with the credentials that Lambda puts into the environment: AWS's SDK takes some 200 ms to load, and the
 * secrets extension answers nothing before the first invocation.
 *
 * @param id name or ARN of the secret
 * @throws {Error} that says why there is none, without anything of what is in it
 */
export async function readSecret(id: string, env: Variables): Promise<Record<string, unknown>> {
  const {
    AWS_REGION: region = '',
    AWS_ACCESS_KEY_ID: accessKeyId = '',
    AWS_SECRET_ACCESS_KEY: secretAccessKey = '',
  } = env;
  const { AWS_SESSION_TOKEN: sessionToken, AWS_ENDPOINT_URL_SECRETS_MANAGER: endpoint } = env;
  const aws = new AwsClient({
    region,
    accessKeyId,
    secretAccessKey,
    ...(sessionToken !== undefined && { sessionToken }),
    service: 'secretsmanager',
    retries: 2,
  });
  const response = await aws
    .fetch(endpoint ?? `https://secretsmanager.${region}.amazonaws.com`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-amz-json-1.1', 'X-Amz-Target': 'secretsmanager.GetSecretValue' },
      body: JSON.stringify({ SecretId: id }),
      signal: AbortSignal.timeout(DEADLINE),
    })
    .catch((cause: unknown) => {
      throw new Error(`The secret ${id} cannot be read: Secrets Manager does not answer.`, { cause });
    });
  // What is in front of Secrets Manager may answer in its own words.
  const answer = (await response.json().catch(() => undefined)) as
    | { SecretString?: string; __type?: string }
    | undefined;
  if (!response.ok)
    throw new Error(`The secret ${id} cannot be read: ${response.status} ${answer?.__type ?? ''}`.trim());
  return parseVariables(id, answer?.SecretString);
}

function parseVariables(id: string, text = ''): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  } catch {
    // Its message would quote the secret.
  }
  throw new Error(`The secret ${id} must be a JSON object of variables: {"DATABASE_URL": "…", "API_TOKEN": "…"}.`);
}
