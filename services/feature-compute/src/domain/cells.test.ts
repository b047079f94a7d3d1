import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Cell, Shard, shardOf } from './cells.ts';

function cell(key: string, usedRound = 0): Cell {
  return {
    key,
    state: {} as Cell['state'],
    rebuilding: null,
    isGone: false,
    position: 0,
    knownTimeUs: 0,
    rowDirty: false,
    unsaved: false,
    saving: 0,
    savedGone: true,
    droppedUnsaved: 0,
    usedRound,
    fresh: false,
  };
}

test('every key has one shard below the count', () => {
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 1, max: 64 }), (key, count) => {
      const shard = shardOf(key, count);
      expect(shard).toBe(shardOf(key, count));
      expect(shard).toBeGreaterThanOrEqual(0);
      expect(shard).toBeLessThan(count);
    }),
  );
});

test('a cell whose row is behind is taken once until somebody has begun to make the row', () => {
  const shard = new Shard();
  const a = cell('a');
  shard.markRow(a);
  shard.markRow(a);
  expect(shard.takeRowDirty()).toEqual([a]);
  expect(shard.rowDirtyCount).toBe(0);
  shard.markRow(a);
  expect(shard.takeRowDirty()).toEqual([]);
  a.rowDirty = false;
  shard.markRow(a);
  expect(shard.takeRowDirty()).toEqual([a]);
});

test('only cells that are in the store as they are and were not used lately are evicted', () => {
  const shard = new Shard();
  const [clean, changed, saving, used] = [cell('clean'), cell('changed'), cell('saving'), cell('used', 9)];
  for (const each of [clean, changed, saving, used]) shard.cells.set(each.key, each);
  changed.unsaved = true;
  saving.saving = 1;
  expect(shard.evict(10, 10)).toBe(1);
  expect([...shard.cells.keys()]).toEqual(['changed', 'saving', 'used']);
});
