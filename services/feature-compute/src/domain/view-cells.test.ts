import type { EventColumns, ViewDefinition } from '@millrace/features';
import { expect, test } from 'vitest';
import { createArena } from './arena.ts';
import { ViewCells } from './view-cells.ts';

const hourUs = 3_600_000_000;
const view: ViewDefinition = {
  name: 'visits',
  version: '0123456789ab',
  entity: 'shop',
  joinKeys: [{ name: 'shop', type: 'STRING', field: 'shop' }],
  source: 'visits',
  fields: [{ name: 'shop', type: 'STRING', nullable: true }],
  features: [
    {
      name: 'n_1h',
      function: 'count',
      field: '',
      filter: '',
      ddof: 0,
      window: { t: 'sliding', sizeUs: hourUs, hopUs: 0 },
    },
  ],
};

function events(...rows: readonly (readonly [shop: string | null, timeUs: number])[]): EventColumns {
  return {
    count: rows.length,
    eventTimeUs: Float64Array.from(rows, ([, timeUs]) => timeUs),
    columns: new Map([
      [
        'shop',
        {
          type: 'str',
          values: rows.map(([shop]) => shop ?? ''),
          nulls: Uint8Array.from(rows, ([shop]) => (shop === null ? 1 : 0)),
        },
      ],
    ]),
  };
}

test('what a batch did is counted: applied, created, without a key, and too late for every window', () => {
  const cells = new ViewCells(view, { shards: 2, load: () => undefined });
  const nowUs = 1_000 * hourUs;
  expect(cells.applyBatch(events(['a', nowUs], ['b', nowUs], [null, nowUs]), 1, nowUs)).toEqual({
    applied: 2,
    created: 2,
    skipped: 1,
    dropped: 0,
  });
  expect(cells.applyBatch(events(['a', nowUs - hourUs / 2], ['a', nowUs - 3 * hourUs]), 2, nowUs)).toEqual({
    applied: 2,
    created: 0,
    skipped: 0,
    dropped: 1,
  });
});

test('what is saved is as of the begin of the save, whatever comes meanwhile', () => {
  const live = new ViewCells(view, { shards: 2, load: () => undefined });
  const nowUs = 1_000 * hourUs;
  const keys = Array.from({ length: 20 }, (_, i) => `shop-${i}`);
  const batch = events(...keys.map((key) => [key, nowUs] as const));
  live.applyBatch(batch, 1, nowUs);
  const saved = new Map<string, Buffer>();
  live.beginSave((key, bytes) => saved.set(key, bytes), createArena().take);
  // every cell changes, some before and some after their turn
  expect(live.saveUntil(0)).toBe(false);
  live.applyBatch(batch, 2, nowUs + 1);
  while (!live.saveUntil(Number.POSITIVE_INFINITY));
  expect(saved.size).toBe(keys.length);
  const restored = new ViewCells(view, { shards: 2, load: (key) => saved.get(key) });
  for (const key of saved.keys()) expect(restored.cell(key).cell.position).toBe(1);

  const later = new Map<string, Buffer>();
  live.beginSave((key, bytes) => later.set(key, bytes), createArena().take);
  expect(live.saveUntil(Number.POSITIVE_INFINITY)).toBe(true);
  expect(later.size).toBe(keys.length);
  expect([...later.keys()].map((key) => live.decode(key, later.get(key) ?? Buffer.alloc(0)).position)).toEqual(
    keys.map(() => 2),
  );
});
