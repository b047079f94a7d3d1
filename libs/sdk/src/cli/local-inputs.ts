import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type InputObject, type LocalInput, locate } from '@millrace/inputs';

/** The largest file that the command itself fetches. */
const downloadBytesMax = 64 * 2 ** 30;

/** What a location names, read by the command itself; buckets with the credentials of the usual AWS_ variables. */
export function locateHere(location: string, signal: AbortSignal): Promise<InputObject[]> {
  const env = process.env;
  const s3 = {
    endpoint: env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL ?? '',
    region: env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? 'us-east-1',
    accessKeyId: env.AWS_ACCESS_KEY_ID ?? '',
    secretAccessKey: env.AWS_SECRET_ACCESS_KEY ?? '',
    sessionToken: env.AWS_SESSION_TOKEN ?? '',
  };
  return locate(location, { s3, bytesMax: downloadBytesMax, signal });
}

/** Runs work over an input's bytes; a copy of them is gone afterwards. */
export async function withLocal<T>(
  input: InputObject,
  signal: AbortSignal,
  work: (local: LocalInput) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-input-'));
  try {
    return await work(await input.fetch(join(folder, 'content'), signal));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
