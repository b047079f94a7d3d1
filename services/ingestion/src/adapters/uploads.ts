import { createWriteStream } from 'node:fs';
import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { MeshError, newId } from '@millrace/kernel';

export type Uploads = Awaited<ReturnType<typeof openUploads>>;

const unusedMs = 3_600_000;

/** Files that callers sent, kept until their loads end. */
export async function openUploads(folder: string, bytesMax: number) {
  await mkdir(folder, { recursive: true });
  return {
    /** LIMIT_EXCEEDED when it does not fit beside those that are kept. */
    async keep(parts: AsyncIterable<Uint8Array>): Promise<{ readonly uploadId: string; readonly bytes: number }> {
      const uploadId = newId();
      const path = join(folder, uploadId);
      const before = await sizeOf(folder);
      let bytes = 0;
      async function* counted() {
        for await (const part of parts) {
          bytes += part.length;
          if (before + bytes > bytesMax) throw full(before + bytes, bytesMax);
          yield part;
        }
      }
      try {
        await pipeline(Readable.from(counted()), createWriteStream(path));
      } catch (cause) {
        await rm(path, { force: true });
        throw cause;
      }
      return { uploadId, bytes };
    },

    discard: (uploadId: string) => rm(join(folder, uploadId), { force: true }),

    /** Removes what no load in `wanted` reads and nobody has begun to for an hour. */
    async prune(wanted: ReadonlySet<string>, nowMs: number): Promise<void> {
      for (const name of await readdir(folder)) {
        const found = await stat(join(folder, name)).catch(() => undefined);
        if (found !== undefined && !wanted.has(name) && nowMs - found.mtimeMs > unusedMs)
          await rm(join(folder, name), { force: true });
      }
    },
  };
}

async function sizeOf(folder: string): Promise<number> {
  const sizes = await Promise.all(
    (await readdir(folder)).map(async (name) => (await stat(join(folder, name)).catch(() => undefined))?.size ?? 0),
  );
  return sizes.reduce((a, b) => a + b, 0);
}

function full(bytes: number, limit: number): MeshError {
  return new MeshError(
    'LIMIT_EXCEEDED',
    `uploads would take ${bytes} bytes, more than the limit of ${limit}; wait for other loads to end, or split the file`,
    { bytes, limit },
  );
}
