import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { IndexedMessage } from '../app/id-index.ts';
import { openLmdbIdIndex } from './lmdb-id-index.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'millrace-ids-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const openIndex = (idsPerGeneration = 1_000) =>
  openLmdbIdIndex({ path: join(dir, 'ids'), mapBytesMax: 2 ** 30, idsPerGeneration });

function message(position: number, ids: readonly string[], hash = 5n): IndexedMessage {
  const batch = {
    source: 's',
    sourceVersion: 'v',
    knownTimeUs: 0,
    ids: [...ids],
    count: ids.length,
    eventTimeUs: new Float64Array(ids.length),
    payloadHashes: BigUint64Array.from(ids, () => hash),
    columns: new Map(),
  };
  return { position, batch };
}
const mark = (position: number) => ({
  position,
  tallies: { s: { accepted: position, frontierUs: 7, lastPosition: position } },
});

test('ids, hashes and the mark survive a restart', async () => {
  const index = openIndex();
  await index.record([message(1, ['a', 'b'], 2n ** 63n + 9n)], mark(1));
  await index.record([message(2, ['c'], 1n)], mark(2));
  await index.close();
  const again = openIndex();
  expect(again.mark()).toMatchObject(mark(2));
  expect(again.find('s\nb')).toEqual({ lo: 9, hi: 2 ** 31, sequence: 0n });
  expect(again.find('s\nc')).toEqual({ lo: 1, hi: 0, sequence: 0n });
  expect(again.find('s\nd')).toBeUndefined();
  expect(again.find('t\na')).toBeUndefined();
  await again.close();
});

test('the oldest ids go when a generation is full, the latest are always known', async () => {
  const index = openIndex(10);
  for (let position = 1; position <= 9; position++) {
    await index.record(
      [
        message(
          position,
          Array.from({ length: 5 }, (_, at) => `${position}-${at}`),
        ),
      ],
      mark(position),
    );
  }
  expect(index.find('s\n9-0')).toBeDefined();
  expect(index.find('s\n7-0')).toBeDefined();
  expect(index.find('s\n1-0')).toBeUndefined();
  await index.close();
});

test('a wipe forgets ids and mark', async () => {
  const index = openIndex();
  await index.record([message(1, ['a'])], mark(1));
  await index.wipe();
  expect(index.find('s\na')).toBeUndefined();
  expect(index.mark().position).toBe(0);
  await index.close();
});

test('ids of the greatest length fit', async () => {
  const index = openIndex();
  const id = 'é'.repeat(512);
  await index.record([message(1, [id])], mark(1));
  expect(index.find(`s\n${id}`)).toBeDefined();
  await index.close();
});
