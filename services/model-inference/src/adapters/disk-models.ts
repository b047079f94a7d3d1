import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { copyFile, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { MeshError } from '@millrace/kernel';
import type { ModelFiles } from '../app/disk-repository.ts';
import { isModelName, type ListedModel, type ListedVersion, versionOf } from '../domain/repository-layout.ts';

const configBytesMax = 2 ** 20;
const warmupBytesMax = 64 * 2 ** 20;

/** Undefined: no model repository is served. */
export function modelFilesOf(config: {
  readonly repositoryDir: string | undefined;
  readonly dataDir: string;
}): ModelFiles | undefined {
  const { repositoryDir: dir, dataDir } = config;
  return dir === undefined ? undefined : createDiskModels({ dir, keepDir: join(dataDir, 'model-repository') });
}

/** Model folders as Triton has them: `<model>/config.pbtxt`, `<model>/<version>/<file>`, `<model>/warmup/<file>`. */
export function createDiskModels(options: {
  readonly dir: string;
  /** Of this process: the bytes that are served, by their digest, whatever becomes of the files that they came from, and what came with loads. */
  readonly keepDir: string;
}): ModelFiles {
  const [overrideDir, pinDir] = [join(options.keepDir, 'overrides'), join(options.keepDir, 'served')];
  /** By path: what a file was when it was copied. */
  const pinned = new Map<string, { readonly stamp: string; readonly sha256: string; readonly path: string }>();
  let nextCopy = 0;

  return {
    async list() {
      const names = (await folders(options.dir)).filter(isModelName);
      return Promise.all(names.map((name) => listModel(join(options.dir, name), name)));
    },
    async pin(path) {
      const { mtimeMs, size, ino } = await stat(path);
      const stamp = `${mtimeMs} ${size} ${ino}`;
      const known = pinned.get(path);
      if (known?.stamp === stamp) return known;
      await mkdir(pinDir, { recursive: true });
      const copy = join(pinDir, `copy-${nextCopy++}`);
      try {
        await copyFile(path, copy, constants.COPYFILE_FICLONE);
        const hash = createHash('sha256');
        await pipeline(createReadStream(copy), hash);
        const sha256 = hash.digest('hex');
        const file = join(pinDir, sha256);
        await rename(copy, file);
        const pin = { stamp, sha256, path: file };
        pinned.set(path, pin);
        return pin;
      } catch (error) {
        await rm(copy, { force: true });
        throw error;
      }
    },
    async prune(keep) {
      for (const [path, { sha256 }] of pinned) if (!keep.has(sha256)) pinned.delete(path);
      for (const file of await readdir(pinDir).catch(() => []))
        if (!keep.has(file)) await rm(join(pinDir, file), { force: true });
    },
    async warmupFile(listed, name) {
      if (!isModelName(name))
        throw new MeshError(
          'INVALID_ARGUMENT',
          `input_data_file "${name}" is not the name of a file in the folder "warmup"`,
          { file: name },
        );
      return readLimited(join(listed.warmupDir, name), warmupBytesMax);
    },
    async keep(name, files) {
      const digest = createHash('sha256');
      for (const [path, bytes] of [...files].toSorted(([a], [b]) => (a < b ? -1 : 1)))
        digest.update(`${path}\n${bytes.length}\n`).update(bytes);
      const dir = join(overrideDir, name, digest.digest('hex').slice(0, 16));
      await rm(dir, { recursive: true, force: true });
      for (const [path, bytes] of files) {
        await mkdir(dirname(join(dir, path)), { recursive: true });
        await writeFile(join(dir, path), bytes);
      }
      return { ...(await listModel(dir, name)), config: undefined };
    },
    async drop(name, kept) {
      const dir = join(overrideDir, name);
      for (const folder of await folders(dir).catch(() => []))
        if (kept === undefined || !kept.startsWith(join(dir, folder)))
          await rm(join(dir, folder), { recursive: true, force: true });
    },
    clear: () => rm(options.keepDir, { recursive: true, force: true }),
  };
}

async function listModel(dir: string, name: string): Promise<ListedModel> {
  const config = await readLimited(join(dir, 'config.pbtxt'), configBytesMax).catch((error) => {
    if (error?.code === 'ENOENT') return undefined;
    throw error;
  });
  const versions = (await folders(dir)).flatMap((folder): { folder: string; version: number }[] => {
    const version = versionOf(folder);
    return version === undefined ? [] : [{ folder, version }];
  });
  const listed = await Promise.all(
    versions.map(async ({ folder, version }): Promise<ListedVersion> => {
      const path = join(dir, folder);
      return { version, dir: path, files: (await readdir(path)).toSorted() };
    }),
  );
  return { name, config: config?.toString('utf8'), versions: listed, warmupDir: join(dir, 'warmup') };
}

async function folders(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { withFileTypes: true });
  const isFolder = await Promise.all(
    entries.map(async (entry) =>
      entry.isSymbolicLink()
        ? (await stat(join(dir, entry.name)).catch(() => undefined))?.isDirectory() === true
        : entry.isDirectory(),
    ),
  );
  return entries.flatMap(({ name }, at) => (isFolder[at] ? [name] : [])).toSorted();
}

async function readLimited(path: string, bytesMax: number): Promise<Buffer> {
  const { size } = await stat(path);
  if (size > bytesMax)
    throw new MeshError('LIMIT_EXCEEDED', `"${path}" has ${size} bytes, and the limit is ${bytesMax}`, {
      path,
      limit: bytesMax,
    });
  return readFile(path);
}
