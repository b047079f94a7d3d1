import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, realpath, rm, stat } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import type { loads } from '@millrace/contracts';
import { type InputObject, isLocal, locate, openRows, type S3Access } from '@millrace/inputs';
import { MeshError } from '@millrace/kernel';
import type { Inputs } from '../app/load-deps.ts';

export type LoadInputsConfig = {
  /** Folders whose files may be read; none: no local file is. */
  readonly folders: readonly string[];
  readonly spoolDir: string;
  readonly uploadDir: string;
  readonly bytesMax: number;
  readonly s3: S3Access;
};

/** Files of the allowed folders, URLs, buckets and uploads. What is fetched lies in the spool folder while it is read. */
export async function openLoadInputs(config: LoadInputsConfig): Promise<Inputs> {
  // what a killed process left there
  await rm(config.spoolDir, { recursive: true, force: true });
  await mkdir(config.spoolDir, { recursive: true });
  return {
    async locate(request, signal) {
      if (request.uploadId !== '') return [await uploaded(config.uploadDir, request.uploadId, request.location)];
      const found = await locate(request.location, { s3: config.s3, bytesMax: config.bytesMax, signal });
      if (isLocal(request.location)) {
        const folders = await Promise.all(config.folders.map((folder) => realpath(folder).catch(() => folder)));
        for (const { uri } of found) checkFolder(fileURLToPath(uri), request.location, folders);
        checkSize(found, request);
      }
      return found;
    },
    fetch: (object, load, signal) => object.fetch(join(config.spoolDir, load.id), signal),
    open: ({ path }, format, name) => openRows(path, format, name),
    discard: async ({ path, isCopy }) => {
      if (isCopy) await rm(path, { force: true });
    },
  };
}

function checkFolder(path: string, location: string, folders: readonly string[]): void {
  if (folders.some((folder) => path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep)))
    return;
  const allowed = folders.length === 0 ? 'none' : folders.join(', ');
  throw new MeshError(
    'INPUT_NOT_FOUND',
    `ingestion may not read "${location}" (its folders: ${allowed}); add the folder to MILLRACE_INGESTION_LOAD_FOLDERS or upload the file`,
    { location, folders: allowed },
  );
}

function checkSize(found: readonly InputObject[], { location, bytes }: loads.StartLoadRequest): void {
  const here = found.reduce((sum, input) => sum + input.bytes, 0);
  if (bytes === 0n || here === Number(bytes)) return;
  throw new MeshError(
    'INPUT_NOT_FOUND',
    `"${location}" has ${here} bytes where ingestion runs and ${bytes} where you are: it is another one; upload it`,
    { location, bytes: here },
  );
}

/** Kept until its load ends. Its name is the location that its owner gave. */
async function uploaded(uploadDir: string, uploadId: string, location: string): Promise<InputObject> {
  const path = join(uploadDir, uploadId);
  const found = /^[\w-]+$/.test(uploadId) ? await stat(path).catch(() => undefined) : undefined;
  if (found === undefined)
    throw new MeshError('INPUT_NOT_FOUND', `there is no upload "${uploadId}" any more; upload the file again`, {
      uploadId,
    });
  return {
    uri: location,
    name: location,
    bytes: found.size,
    fingerprint: '',
    async fetch(_spool, signal) {
      const hash = createHash('sha256');
      await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash, { signal });
      return { path, sha256: hash.digest('hex'), bytes: found.size, isCopy: false };
    },
  };
}
