import { type EventColumns, entityKey, type ViewDefinition } from '@millrace/features';
import { expect, test } from 'vitest';
import { Unsaved } from './unsaved.ts';
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

function cellsOf(
  unsaved = new Unsaved<ViewCells>(),
  load: (key: string) => Buffer | undefined = () => undefined,
): ViewCells {
  return new ViewCells(view, { id: 'visits@1', shards: 2, load, unsaved });
}

function keyOf(shop: string): string {
  return entityKey('shop', [shop]);
}

test('what a batch did is counted: applied, created, without a key, and too late for every window', () => {
  const cells = cellsOf();
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

test('what a state reflects already is passed over when the stream is read again, all events of a message or none', () => {
  const nowUs = 1_000 * hourUs;
  const unsaved = new Unsaved<ViewCells>();
  const live = cellsOf(unsaved);
  live.applyBatch(events(['a', nowUs], ['b', nowUs]), 1, nowUs);
  const saved = new Map<string, Buffer>();
  const save = () => {
    for (let next = unsaved.take(); next !== undefined; next = unsaved.take())
      saved.set(next.cell.key, live.encode(next.cell));
  };
  save();
  live.applyBatch(events(['a', nowUs], ['a', nowUs]), 2, nowUs);
  save();
  live.applyBatch(events(['b', nowUs], ['b', nowUs], ['c', nowUs]), 3, nowUs);
  expect(unsaved.oldestPosition()).toBe(3);

  const again = cellsOf(new Unsaved<ViewCells>(), (key) => saved.get(key));
  const counts = [
    again.applyBatch(events(['a', nowUs], ['a', nowUs]), 2, nowUs, true),
    again.applyBatch(events(['b', nowUs], ['b', nowUs], ['c', nowUs]), 3, nowUs, true),
  ];
  expect(counts.map(({ applied, created }) => [applied, created])).toEqual([
    [0, 0],
    [3, 1],
  ]);
  for (const [key, count] of [
    ['a', 3],
    ['b', 3],
    ['c', 1],
  ] as const) {
    const { cell } = again.cell(keyOf(key));
    expect(again.view.valuesAt(cell.state, nowUs + 1)).toEqual([count]);
    // its row may not have been written
    expect(cell.rowDirty).toBe(true);
  }
});
