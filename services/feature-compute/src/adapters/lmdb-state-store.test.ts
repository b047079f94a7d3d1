import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open as openLmdb } from 'lmdb';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { StateStore } from '../app/state-store.ts';
import type { CheckpointMeta, ViewRecord } from '../domain/view-record.ts';
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

test('definitions of views are written once, read back, and go with their view', async () => {
  const viewOf = (name: string): ViewRecord => ({
    definition: { name, version: '1', entity: 'e', source: 's', joinKeys: [], features: [] } as never,
    phase: 'ready',
    startPosition: 3,
    entities: 2,
    lateDropped: 1,
  });
  const both = { 'v@1': viewOf('v'), 'w@1': viewOf('w') };
  await store.commit([], { ...meta(1), views: both });
  expect(store.readMeta()).toEqual({ ...meta(1), views: both });
  await store.close();
  store = open();
  const read = store.readMeta();
  expect(read).toEqual({ ...meta(1), views: both });
  const { 'w@1': _, ...left } = read?.views ?? {};
  await store.commit([], { ...meta(2), views: left });
  await store.close();
  const raw = openLmdb({ path: join(dir, 'state'), maxDbs: 4 }).openDB<unknown, string>({
    name: 'meta',
    encoding: 'json',
  });
  expect([...raw.getKeys()]).toEqual(['checkpoint', 'definition:v@1']);
  // as checkpoints were before: definitions in their records
  await raw.put('checkpoint', { ...meta(5), views: both });
  await raw.close();
  store = open();
  expect(store.readMeta()).toEqual({ ...meta(5), views: both });
  await store.commit([], { ...meta(6), views: store.readMeta()?.views ?? {} });
  expect(store.readMeta()).toEqual({ ...meta(6), views: both });
});
