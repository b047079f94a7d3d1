import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { glob, readdir, realpath, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pathToFileURL } from 'node:url';
import { MeshError } from '@millrace/kernel';
import { isDataFile } from '../format.ts';
import { type InputObject, inputsMax } from './input-object.ts';

const globs = /[*?[\]{}]/;

/** A file, the data files of a folder, or what a glob matches, in the order of their paths. INPUT_NOT_FOUND when there is none. */
export async function localInputs(location: string): Promise<InputObject[]> {
  const paths = await pathsOf(location);
  if (paths.length === 0)
    throw new MeshError('INPUT_NOT_FOUND', `"${location}" has no file of data; name a file, a folder or a glob`, {
      location,
    });
  if (paths.length > inputsMax)
    throw new MeshError(
      'LIMIT_EXCEEDED',
      `"${location}" is ${paths.length} files, more than the limit of ${inputsMax}; load them in parts`,
      { location, files: paths.length, limit: inputsMax },
    );
  return Promise.all(paths.map(localInput));
}

async function pathsOf(location: string): Promise<string[]> {
  const found = await stat(location).catch(() => undefined);
  if (found?.isFile()) return [location];
  if (found?.isDirectory()) {
    const entries = await readdir(location, { withFileTypes: true });
    return entries
      .filter((entry) => entry.isFile() && isDataFile(entry.name))
      .map((entry) => join(location, entry.name))
      .sort();
  }
  if (!globs.test(location)) return [];
  const paths: string[] = [];
  for await (const path of glob(location)) {
    if ((await stat(path).catch(() => undefined))?.isFile()) paths.push(path);
  }
  return paths.sort();
}

async function localInput(given: string): Promise<InputObject> {
  const path = await realpath(given);
  const { size, mtimeMs } = await stat(path);
  return {
    uri: pathToFileURL(path).href,
    name: basename(path),
    bytes: size,
    fingerprint: `${size}-${Math.round(mtimeMs)}`,
    async fetch(_spool, signal) {
      const { sha256, bytes } = await digestOf(path, signal);
      return { path, sha256, bytes, isCopy: false };
    },
  };
}

async function digestOf(path: string, signal: AbortSignal): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash('sha256');
  const stream = createReadStream(path, { highWaterMark: 1024 * 1024 });
  await pipeline(stream, hash, { signal });
  return { sha256: hash.digest('hex'), bytes: stream.bytesRead };
}
