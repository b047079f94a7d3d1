import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { StateStore } from '../app/state-store.ts';
import type { CheckpointMeta } from '../domain/view-record.ts';
import { openLmdbStateStore } from './lmdb-state-store.ts';

let dir: string;
let store: StateStore;
const meta = (position: number): CheckpointMeta => ({ format: 1, position, frontiers: {}, views: {}, pendingRows: {} });
const open = () => openLmdbStateStore({ path: join(dir, 'state'), mapBytesMax: 2 ** 28 });

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'millrace-lmdb-'));
  store = open();
});

afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true });
});

test('what is committed is read back at once and after reopening', async () => {
  await store.commit([{ viewId: 'v@1', entityKey: '{e:ä}', bytes: Buffer.from('one') }], meta(7));
  expect(store.readState('v@1', '{e:ä}')?.toString()).toBe('one');
  await store.close();
  store = open();
  expect(store.readState('v@1', '{e:ä}')?.toString()).toBe('one');
  expect(store.readMeta()?.position).toBe(7);
});

test('a scan goes through one view only, in pages', async () => {
  const changed = ['a', 'b', 'c'].flatMap((entityKey) =>
    ['v@1', 'v@11', 'w@1'].map((viewId) => ({ viewId, entityKey, bytes: Buffer.from(`${viewId}${entityKey}`) })),
  );
  await store.commit(changed, meta(1));
  expect(store.scan('v@1', undefined, 2).map(({ entityKey }) => entityKey)).toEqual(['a', 'b']);
  const last = store.scan('v@1', 'b', 2);
  expect(last.map(({ entityKey, bytes }) => [entityKey, bytes.toString()])).toEqual([['c', 'v@1c']]);
  await store.remove('v@1', ['a', 'b', 'c']);
  expect(store.scan('v@1', undefined, 9)).toEqual([]);
  expect(store.scan('v@11', undefined, 9)).toHaveLength(3);
});
