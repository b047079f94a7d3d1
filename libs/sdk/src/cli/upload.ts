import { createReadStream } from 'node:fs';
import { MeshError } from '@millrace/kernel';
import type { LoadClient } from './context.ts';

const partBytes = 1024 * 1024;

/** Sends a file's bytes as fast as ingestion takes them, and returns what names them there. */
export async function uploadFile(client: LoadClient, path: string, signal: AbortSignal): Promise<string> {
  async function* parts() {
    for await (const part of createReadStream(path, { highWaterMark: partBytes, signal }))
      yield { part: part as Buffer };
  }
  for await (const { uploadId } of client.uploadInput(parts(), { signal })) return uploadId;
  throw new MeshError('INTERNAL', `ingestion did not say that it keeps "${path}"`, { path });
}
