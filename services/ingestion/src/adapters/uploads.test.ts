import { mkdtempSync, readFileSync, rmSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openUploads } from './uploads.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-uploads-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function* parts(...sizes: readonly number[]) {
  for (const size of sizes) yield Buffer.alloc(size, 7);
}

test('an upload is kept byte by byte until it is discarded, and makes room', async () => {
  const uploads = await openUploads(folder, 1_000);
  const { uploadId, bytes } = await uploads.keep(parts(300, 0, 400));
  expect(bytes).toBe(700);
  expect(readFileSync(join(folder, uploadId)).equals(Buffer.alloc(700, 7))).toBe(true);
  await expect(uploads.keep(parts(200, 200))).rejects.toMatchObject({
    reason: 'LIMIT_EXCEEDED',
    metadata: { limit: '1000' },
  });
  await uploads.discard(uploadId);
  expect(await uploads.keep(parts(1_000))).toMatchObject({ bytes: 1_000 });
});

test('an upload that breaks off leaves nothing', async () => {
  const uploads = await openUploads(folder, 1_000);
  async function* broken() {
    yield Buffer.alloc(900);
    throw new Error('reset');
  }
  await expect(uploads.keep(broken())).rejects.toThrow('reset');
  expect(await uploads.keep(parts(1_000))).toMatchObject({ bytes: 1_000 });
});

test('what nobody loads within an hour goes, what a load waits for stays', async () => {
  const uploads = await openUploads(folder, 1_000);
  const [old, wanted, fresh] = await Promise.all([
    uploads.keep(parts(1)),
    uploads.keep(parts(1)),
    uploads.keep(parts(1)),
  ]);
  const nowMs = Date.now();
  for (const { uploadId } of [old, wanted])
    utimesSync(join(folder, uploadId), new Date(nowMs - 4e6), new Date(nowMs - 4e6));
  await uploads.prune(new Set([wanted.uploadId]), nowMs);
  expect(() => readFileSync(join(folder, old.uploadId))).toThrow();
  for (const { uploadId } of [wanted, fresh]) expect(readFileSync(join(folder, uploadId))).toHaveLength(1);
});
