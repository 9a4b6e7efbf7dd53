import { AwsClient } from 'aws4fetch';

/** Milliseconds for all attempts; a function has ten seconds to start. */
const DEADLINE = 5_000;

type Variables = Record<string, string | undefined>;

/**
 * Reads variables from a secret of AWS Secrets Manager, a JSON object such as `{"DATABASE_URL": "…", "API_TOKEN": "…"}`.
 *
 * One signed request, with the credentials that Lambda puts into the environment: AWS's SDK takes some 200 ms to load, and the
 * secrets extension does not answer before the first invocation.
 *
 * @param id name or ARN of the secret
 * @throws {Error} that says why it cannot be read or used, without quoting anything in it
 */
export async function readSecret(id: string, env: Variables): Promise<Record<string, unknown>> {
  const { AWS_REGION: region = '', AWS_ENDPOINT_URL_SECRETS_MANAGER: endpoint } = env;
  const { AWS_ACCESS_KEY_ID: accessKeyId = '', AWS_SECRET_ACCESS_KEY: secretAccessKey = '' } = env;
  const { AWS_SESSION_TOKEN: sessionToken = '' } = env;
  const credentials = { accessKeyId, secretAccessKey, sessionToken };
  const aws = new AwsClient({ ...credentials, region, service: 'secretsmanager', retries: 2 });
  const refuse = (cause: unknown): never => {
    throw new Error(`The secret ${id} cannot be read: Secrets Manager does not answer.`, { cause });
  };
  const response = await aws
    .fetch(endpoint ?? `https://secretsmanager.${region}.amazonaws.com`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-amz-json-1.1', 'X-Amz-Target': 'secretsmanager.GetSecretValue' },
      body: JSON.stringify({ SecretId: id }),
      signal: AbortSignal.timeout(DEADLINE),
    })
    .catch(refuse);
  // Something in front of Secrets Manager may answer instead, in its own format.
  const { SecretString, __type = '' } = parseObject(await response.text().catch(refuse)) ?? {};
  if (!response.ok) throw new Error(`The secret ${id} cannot be read: ${response.status} ${String(__type)}`.trim());
  const variables = parseObject(SecretString);
  if (variables) return variables;
  throw new Error(`The secret ${id} must be a JSON object of variables: {"DATABASE_URL": "…", "API_TOKEN": "…"}.`);
}

function parseObject(text: unknown): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(String(text));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : undefined;
  } catch {
    return undefined; // its message would quote the secret
  }
}
