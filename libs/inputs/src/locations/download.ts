import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ReadableStream } from 'node:stream/web';
import { setTimeout as sleep } from 'node:timers/promises';
import { MeshError } from '@millrace/kernel';
import type { LocalInput } from './input-object.ts';

/** A GET or HEAD of one address, signed where it must be. */
export type Request = (method: 'GET' | 'HEAD', signal: AbortSignal) => Promise<Response>;

const triesMax = 4;
const firstPauseMs = 500;
const answerTimeoutMs = 30_000;

/** Asks, again where another try can help; throws for an answer that is not a success. */
export async function ask(
  request: Request,
  method: 'GET' | 'HEAD',
  uri: string,
  signal: AbortSignal,
): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const timer = new AbortController();
    const timeout = setTimeout(() => timer.abort(), answerTimeoutMs);
    let failure: MeshError;
    try {
      const response = await request(method, AbortSignal.any([signal, timer.signal]));
      if (response.ok) return response;
      failure = await refused(response, uri);
      if (failure.reason !== 'STORE_UNAVAILABLE') throw failure;
    } catch (cause) {
      if (cause instanceof MeshError) throw cause;
      signal.throwIfAborted();
      failure = unreachable(uri, cause);
    } finally {
      clearTimeout(timeout);
    }
    if (attempt === triesMax) throw failure;
    await sleep(firstPauseMs * 2 ** (attempt - 1), undefined, { signal });
  }
}

/** Writes what an address answers to a file; a transfer that breaks off begins anew. */
export async function download(
  request: Request,
  from: { readonly uri: string; readonly spool: string; readonly bytesMax: number },
  signal: AbortSignal,
): Promise<LocalInput> {
  await mkdir(dirname(from.spool), { recursive: true });
  for (let attempt = 1; ; attempt++) {
    const response = await ask(request, 'GET', from.uri, signal);
    try {
      return await save(response, from, signal);
    } catch (cause) {
      await rm(from.spool, { force: true });
      signal.throwIfAborted();
      if (cause instanceof MeshError) throw cause;
      if (attempt === triesMax) throw unreachable(from.uri, cause);
    }
  }
}

async function save(
  response: Response,
  { uri, spool, bytesMax }: { readonly uri: string; readonly spool: string; readonly bytesMax: number },
  signal: AbortSignal,
): Promise<LocalInput> {
  const hash = createHash('sha256');
  let bytes = 0;
  const counting = new Transform({
    transform(part: Buffer, _encoding, done) {
      bytes += part.length;
      hash.update(part);
      if (bytes > bytesMax) done(tooLarge(uri, bytesMax));
      else done(null, part);
    },
  });
  const body =
    response.body === null ? Readable.from([]) : Readable.fromWeb(response.body as ReadableStream<Uint8Array>);
  await pipeline(body, counting, createWriteStream(spool), { signal });
  return { path: spool, sha256: hash.digest('hex'), bytes, isCopy: true };
}

async function refused(response: Response, uri: string): Promise<MeshError> {
  const { status } = response;
  const text = (await response.text().catch(() => '')).slice(0, 300).replace(/\s+/g, ' ');
  const about = { uri, status };
  if (status === 404) return new MeshError('INPUT_NOT_FOUND', `"${uri}" is not there (404); check the address`, about);
  if (status === 401 || status === 403)
    return new MeshError(
      'INPUT_NOT_FOUND',
      `"${uri}" may not be read (${status} ${text}); check the credentials`,
      about,
    );
  if (status === 429 || status >= 500)
    return new MeshError('STORE_UNAVAILABLE', `"${uri}" answered ${status} ${text}; try again later`, about);
  return new MeshError('INPUT_NOT_FOUND', `"${uri}" answered ${status} ${text}`, about);
}

function unreachable(uri: string, cause: unknown): MeshError {
  const { message, cause: inner } = cause as Error;
  const detail = inner instanceof Error ? `${message}: ${inner.message}` : message;
  return new MeshError('STORE_UNAVAILABLE', `"${uri}" cannot be read: ${detail}; try again later`, { uri }, { cause });
}

function tooLarge(uri: string, limit: number): MeshError {
  return new MeshError(
    'LIMIT_EXCEEDED',
    `"${uri}" is larger than the limit of ${limit} bytes; split it, or raise the limit`,
    { uri, limit },
  );
}
