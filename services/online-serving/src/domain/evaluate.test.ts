import { serving } from '@millrace/contracts';
import type { FeatureValue, List, RowReader, ViewDefinition } from '@millrace/features';
import { expect, test } from 'vitest';
import { evaluateRow, fillFromHistory, markUnavailable, type StoredRow } from './evaluate.ts';
import { createMatrix, encodeMatrix, eventTimeAt, type Matrix, statusAt, valueAt } from './matrix.ts';
import { Block, type Plan, type PlannedFeature, type PlannedView } from './plan.ts';
import { encodeField } from './wire.ts';

type FakeRow = { lastEventTimeUs: number; firstStepUs: number; values: readonly FeatureValue[] };

const fakeRows: FakeRow[] = [];
const fake = (row: DataView): FakeRow => fakeRows[row.getUint8(0)] as FakeRow;
/** A row whose bytes are its number in `fakeRows`: the statuses are under test, not the codec. */
const stored = (row: FakeRow): DataView => new DataView(Uint8Array.of(fakeRows.push(row) - 1).buffer);

const reader = {
  newCursor: () => new Int32Array(1),
  lastEventTimeUs: (row: DataView) => fake(row).lastEventTimeUs,
  position: () => 42,
  knownTimeUs: (row: DataView) => fake(row).lastEventTimeUs + 5,
  locate: (row: DataView, asOfUs: number) => asOfUs >= fake(row).firstStepUs,
  isNull: (row: DataView, _cursor: Int32Array, index: number) => fake(row).values[index] === null,
  f64: (row: DataView, _cursor: Int32Array, index: number) => fake(row).values[index] as number,
  list: (row: DataView, _cursor: Int32Array, index: number) => fake(row).values[index] as List,
  string: (row: DataView, _cursor: Int32Array, index: number) => fake(row).values[index] as string,
  copyI64: (row: DataView, _cursor: Int32Array, index: number, out: DataView, at: number) => {
    out.setBigInt64(at, fake(row).values[index] as bigint, true);
  },
} as unknown as RowReader;

const noon = 983_448_000_000_000;
const present: FakeRow = {
  lastEventTimeUs: noon - 1_000_000,
  firstStepUs: noon - 10_000_000,
  values: [1.5, 2n ** 60n, 'x'],
};

function planOf(changes: Partial<PlannedFeature> = {}): { plan: Plan; view: PlannedView } {
  const features = (['DOUBLE', 'INT64', 'STRING'] as const).map(
    (type, i): PlannedFeature => ({
      name: type.toLowerCase(),
      type,
      position: i,
      view: 0,
      featureIndex: i,
      block: [Block.DOUBLES, Block.INT64S, Block.STRINGS][i] ?? 0,
      column: 0,
      movesWithTime: false,
      fallback: null,
      maxAgeUs: Number.POSITIVE_INFINITY,
      staleAction: 'serve',
      ...changes,
    }),
  );
  const view: PlannedView = {
    name: 'v',
    version: '1',
    entity: 0,
    definition: { features: [{ name: 'a' }, { name: 'b' }, { name: 'c' }] } as unknown as ViewDefinition,
    reader,
    features,
    maxAgeUsMin: changes.maxAgeUs ?? Number.POSITIVE_INFINITY,
    wireHead: Buffer.concat([encodeField(1, Buffer.from('v')), encodeField(2, Buffer.from('1'))]),
  };
  const wire = features.map((feature) => encodeField(6, Buffer.from(serving.FeatureColumn.encode(feature).finish())));
  const plan: Plan = {
    name: 's',
    version: 'abc',
    features,
    views: [view],
    entities: [],
    keys: [],
    doubles: 1,
    int64s: 1,
    strings: 1,
    lists: [],
    vectors: [],
    wireFeatures: Buffer.concat(wire),
    wireVersion: encodeField(7, Buffer.from('abc')),
  };
  return { plan, view };
}

function evaluate(
  rows: readonly (StoredRow | undefined)[],
  changes: Partial<PlannedFeature> = {},
  asOfUs = noon,
): Matrix {
  const { plan, view } = planOf(changes);
  const asOf = new Float64Array(rows.length).fill(asOfUs);
  const matrix = createMatrix(plan, asOf, { sameAsOf: true, metadata: true });
  const cursor = view.reader.newCursor();
  for (const [row, given] of rows.entries()) {
    if (given === undefined) markUnavailable(matrix, view, row);
    else evaluateRow(matrix, view, 0, row, given, cursor);
  }
  return matrix;
}

const values = (matrix: Matrix, row = 0) => matrix.plan.features.map((_, i) => valueAt(matrix, row, i));
const statuses = (matrix: Matrix, row = 0) => matrix.plan.features.map((_, i) => statusAt(matrix, row, i));
const { PRESENT, NULL, NOT_FOUND, STALE, DEFAULTED, UNAVAILABLE, OUT_OF_ROW } = serving.ValueStatus;
const all = (status: number) => [status, status, status];
const fallback = { double: -1, int64: -1n, text: 'none' };

test('a row gives its values, and its absence, silence and emptiness have a status each', () => {
  const empty = { ...present, values: [null, null, null] };
  const late = { ...present, firstStepUs: noon + 1 };
  const matrix = evaluate([stored(present), null, undefined, stored(empty), stored(late)]);
  expect(values(matrix, 0)).toEqual([1.5, 2n ** 60n, 'x']);
  expect([0, 1, 2, 3, 4].map((row) => statuses(matrix, row))).toEqual(
    [PRESENT, NOT_FOUND, UNAVAILABLE, NULL, OUT_OF_ROW].map(all),
  );
  for (const row of [1, 2, 3, 4]) expect(values(matrix, row)).toEqual([null, null, null]);
  expect(eventTimeAt(matrix, 0, 0)).toBe(noon - 1_000_000);
  expect(eventTimeAt(matrix, 1, 0)).toBe(0);
  expect([...matrix.statusCounts]).toEqual([0, 3, 3, 3, 0, 0, 3, 3]);
});

test('a default stands in for null and not-found, never for what is not known', () => {
  const matrix = evaluate([null, stored({ ...present, values: [null, null, null] }), undefined], { fallback });
  expect(statuses(matrix, 0)).toEqual(all(DEFAULTED));
  expect(values(matrix, 0)).toEqual([-1, -1, 'none']);
  expect(statuses(matrix, 1)).toEqual(all(DEFAULTED));
  expect(statuses(matrix, 2)).toEqual(all(UNAVAILABLE));
});

test('each max_age policy does what it says, and only beyond the age', () => {
  const aged = { maxAgeUs: 1_000_000, fallback };
  const at = (staleAction: PlannedFeature['staleAction'], asOfUs: number) =>
    evaluate([stored(present)], { ...aged, staleAction }, asOfUs);
  for (const action of ['serve', 'null', 'default', 'fail'] as const) {
    expect(statuses(at(action, noon))).toEqual(all(PRESENT));
  }
  expect(statuses(at('serve', noon + 1))).toEqual(all(STALE));
  expect(values(at('serve', noon + 1))).toEqual([1.5, 2n ** 60n, 'x']);
  expect(statuses(at('null', noon + 1))).toEqual(all(STALE));
  expect(values(at('null', noon + 1))).toEqual([null, null, null]);
  expect(statuses(at('default', noon + 1))).toEqual(all(DEFAULTED));
  expect(values(at('default', noon + 1))).toEqual([-1, -1, 'none']);
  expect(() => at('fail', noon + 1)).toThrow(expect.objectContaining({ reason: 'FEATURE_STALE' }));
});

test('values from history take the place of OUT_OF_ROW', () => {
  const { plan, view } = planOf();
  const matrix = createMatrix(plan, Float64Array.of(noon), { sameAsOf: true, metadata: true });
  const row = stored({ ...present, firstStepUs: noon + 1 });
  expect(evaluateRow(matrix, view, 0, 0, row, view.reader.newCursor())).toEqual({
    row: 0,
    position: 42,
    lastEventTimeUs: noon - 1_000_000,
  });
  fillFromHistory(
    matrix,
    view,
    0,
    new Map<string, number | bigint | null>([
      ['a', 2.5],
      ['b', 7n],
      ['c', null],
    ]),
    noon,
  );
  expect(values(matrix)).toEqual([2.5, 7, null]);
  expect(statuses(matrix)).toEqual([PRESENT, PRESENT, NULL]);
  expect(matrix.statusCounts[OUT_OF_ROW]).toBe(0);
});

test('the bytes are what the generated code reads', () => {
  const answer = serving.GetFeaturesResponse.decode(encodeMatrix(evaluate([stored(present), null])));
  expect(answer).toEqual({
    vectors: [],
    doubles: [1.5, Number.NaN],
    int64s: [2n ** 60n, 0n],
    strings: [{ values: ['x', ''] }],
    statuses: Buffer.from([1, 1, 1, 3, 3, 3]),
    views: [
      {
        view: 'v',
        version: '1',
        eventTimesUs: [BigInt(noon - 1_000_000), 0n],
        positions: [42n, 0n],
        knownTimesUs: [BigInt(noon - 999_995), 0n],
      },
    ],
    features: [
      { name: 'double', type: 'DOUBLE', block: 1, column: 0, view: 0 },
      { name: 'int64', type: 'INT64', block: 2, column: 0, view: 0 },
      { name: 'string', type: 'STRING', block: 3, column: 0, view: 0 },
    ],
    version: 'abc',
    lists: [],
    asOfUs: BigInt(noon),
  });
});

test('lists are columns of their own, from rows and from history, empty where there are none', () => {
  const { plan, view } = planOf();
  const features = (['INT64[]', 'STRING[]', 'DOUBLE[]'] as const).map(
    (type, column): PlannedFeature => ({
      ...(plan.features[0] as PlannedFeature),
      name: type,
      type,
      position: column,
      featureIndex: column,
      block: Block.LISTS,
      column,
    }),
  );
  const lists: PlannedView = { ...view, features };
  const elements = ['INT64', 'STRING', 'DOUBLE'] as const;
  const listPlan: Plan = { ...plan, features, views: [lists], doubles: 0, int64s: 0, strings: 0, lists: elements };
  const matrix = createMatrix(listPlan, Float64Array.of(noon, noon, noon), { sameAsOf: true, metadata: false });
  const held = stored({ ...present, values: [[1, 2n ** 60n], ['x', ''], []] });
  for (const [row, given] of [held, null, stored({ ...present, firstStepUs: noon + 1 })].entries())
    evaluateRow(matrix, lists, 0, row, given, view.reader.newCursor());
  fillFromHistory(
    matrix,
    lists,
    2,
    new Map([
      ['a', [7]],
      ['b', ['é']],
      ['c', [0.5, 1.5]],
    ]),
    noon,
  );
  expect(values(matrix, 0)).toEqual([[1, 2n ** 60n], ['x', ''], []]);
  expect(values(matrix, 1)).toEqual([null, null, null]);
  expect(serving.GetFeaturesResponse.decode(encodeMatrix(matrix)).lists).toEqual([
    { ends: [2, 2, 3], doubles: [], int64s: [1n, 2n ** 60n, 7n], strings: [] },
    { ends: [2, 2, 3], doubles: [], int64s: [], strings: ['x', '', 'é'] },
    { ends: [0, 0, 2], doubles: [0.5, 1.5], int64s: [], strings: [] },
  ]);
});
