import { definitions, serving } from '@millrace/contracts';
import type { AggregationFunction, Scalar, ViewDefinition } from '@millrace/features';
import { expect, test } from 'vitest';
import { compilePlan } from './compile-plan.ts';
import { evaluateRow, fillFromHistory, markUnavailable } from './evaluate.ts';
import { createMatrix, encodeMatrix, type Matrix, statusAt, valueAt } from './matrix.ts';
import type { Plan, PlannedView } from './plan.ts';
import { bindRequestData, type RequestDataColumn } from './request-data.ts';

const { PRESENT, NULL, NOT_FOUND, STALE, DEFAULTED, UNAVAILABLE, OUT_OF_ROW } = serving.ValueStatus;
const noon = 983_448_000_000_000;
const { DOUBLE, INT64, STRING, BOOL } = definitions.FieldType;

const view = (name: string, fields: Readonly<Record<string, AggregationFunction>>, derived = {}): ViewDefinition => ({
  name,
  version: '1',
  entity: name === 'carriers' ? 'carrier' : 'airport',
  joinKeys: [{ name: name === 'carriers' ? 'carrier' : 'code', type: 'STRING', field: 'key' }],
  source: 's',
  fields: [
    { name: 'key', type: 'STRING', nullable: false },
    { name: 'x', type: 'DOUBLE', nullable: true },
    { name: 'note', type: 'STRING', nullable: true },
  ],
  features: Object.entries(fields).map(([feature, fn]) => ({
    name: feature,
    function: fn,
    field: fn === 'count' ? '' : fn === 'last' ? 'note' : 'x',
    window: { t: 'lifetime' },
    filter: '',
    ddof: 1,
  })),
  derived: Object.entries(derived).map(([each, expression]) => ({ name: each, expression: String(expression) })),
});

const views: readonly ViewDefinition[] = [
  view(
    'delays',
    { n: 'count', total: 'sum', note: 'last' },
    { mean: 'total / n', tripled: 'mean * 3.0', hour: 'as_of.getHours()' },
  ),
  view('carriers', { flights: 'count' }),
];

type Spec = Parameters<typeof definitions.FeatureService.fromPartial>[0];

function planOf(spec: Spec): Plan {
  const service = { name: 's', version: 'abc', spec: definitions.FeatureService.fromPartial(spec as never) };
  return compilePlan(service, (name) => views.find((each) => each.name === name) as ViewDefinition);
}

type Given = Readonly<Record<string, Readonly<Record<string, Scalar>> | 'missing' | 'unavailable' | 'out of row'>>;

/** One row whose views hold what is given, `ageUs` old. */
function answer(
  plan: Plan,
  given: Given,
  options: { ageUs?: number; request?: readonly RequestDataColumn[] } = {},
): Matrix {
  const reading = plan.derivation?.reads ?? plan;
  const asOf = Float64Array.of(noon);
  const source = createMatrix(reading, asOf, { sameAsOf: true, metadata: true });
  for (const [index, each] of reading.views.entries()) fill(source, each, index, given[each.name], options.ageUs ?? 0);
  if (!plan.derivation) return source;
  const target = createMatrix(plan, asOf, { sameAsOf: true, metadata: true });
  plan.derivation.derive(source, target, bindRequestData(plan, options.request ?? [], 1));
  return target;
}

function fill(matrix: Matrix, each: PlannedView, index: number, given: Given[string] | undefined, ageUs: number): void {
  if (given === 'unavailable') markUnavailable(matrix, each, 0);
  else if (given === undefined || given === 'missing')
    evaluateRow(matrix, each, index, 0, null, each.reader.newCursor());
  else if (given === 'out of row') {
    for (const feature of each.features) matrix.bytes[matrix.statusesAt + feature.position] = OUT_OF_ROW;
  } else fillFromHistory(matrix, each, 0, new Map(Object.entries(given)), noon - ageUs);
}

const shown = (matrix: Matrix) =>
  Object.fromEntries(
    matrix.plan.features.map(({ name }, at) => [name, [valueAt(matrix, 0, at), statusAt(matrix, 0, at)]]),
  );

const ratio = planOf({
  features: [
    { view: 'delays', feature: 'n', alias: 'n' },
    { view: 'delays', feature: 'total', alias: 'total', hidden: true },
    { view: 'carriers', feature: 'flights', alias: 'flights' },
  ],
  derived: [
    { name: 'twice', expression: 'share * 2.0', description: '' },
    { name: 'share', expression: 'double(n) / flights', description: '' },
    { name: 'known', expression: 'coalesce(flights, 0)', description: '' },
    { name: 'per_mile', expression: 'total / distance', description: '' },
    { name: 'noted', expression: 'note == null ? "none" : note.upperAscii()', description: '' },
  ],
  requestFields: [
    { name: 'distance', type: DOUBLE, nullable: false },
    { name: 'note', type: STRING, nullable: true },
  ],
});
const request: readonly RequestDataColumn[] = [{ name: 'distance', kind: 'DOUBLE', values: [4] }];

test('derived features are computed over features of several views and request data, and hidden ones are not answered', () => {
  const given = { delays: { n: 3, total: 6 }, carriers: { flights: 12 } };
  expect(shown(answer(ratio, given, { request }))).toEqual({
    n: [3, PRESENT],
    flights: [12, PRESENT],
    twice: [0.5, PRESENT],
    share: [0.25, PRESENT],
    known: [12, PRESENT],
    per_mile: [1.5, PRESENT],
    noted: ['none', PRESENT],
  });
  const noted = [...request, { name: 'note', kind: 'STRING', values: ['late'] } as const];
  expect(shown(answer(ratio, given, { request: noted })).noted).toEqual(['LATE', PRESENT]);
});

test('no value says why there is none, the worst first, unless the expression handles null', () => {
  const delays = { n: 3, total: 6 };
  const statusOf = (given: Given, name: string) => shown(answer(ratio, given, { request }))[name];
  expect(statusOf({ delays, carriers: 'missing' }, 'share')).toEqual([null, NOT_FOUND]);
  expect(statusOf({ delays, carriers: 'missing' }, 'twice')).toEqual([null, NOT_FOUND]);
  expect(statusOf({ delays, carriers: 'missing' }, 'known')).toEqual([0, PRESENT]);
  expect(statusOf({ delays, carriers: 'unavailable' }, 'share')).toEqual([null, UNAVAILABLE]);
  expect(statusOf({ delays: 'missing', carriers: 'unavailable' }, 'share')).toEqual([null, UNAVAILABLE]);
  expect(statusOf({ delays: 'out of row', carriers: 'missing' }, 'share')).toEqual([null, OUT_OF_ROW]);
  expect(statusOf({ delays, carriers: { flights: 0 } }, 'share')).toEqual([null, NULL]);
  expect(statusOf({ delays: { n: 3, total: null }, carriers: { flights: 1 } }, 'per_mile')).toEqual([null, NULL]);
});

test('a value that rests on a stale one is stale, and one that rests on a default is defaulted', () => {
  const plan = planOf({
    features: [
      { view: 'delays', feature: 'n', alias: 'n', maxAgeUs: 1_000_000n },
      {
        view: 'carriers',
        feature: 'flights',
        alias: 'flights',
        defaultValue: { kind: { $case: 'doubleValue', value: 2 } },
      },
    ],
    derived: [{ name: 'share', expression: 'double(n) / flights', description: '' }],
  });
  const delays = { n: 3 };
  expect(shown(answer(plan, { delays, carriers: { flights: 6 } })).share).toEqual([0.5, PRESENT]);
  expect(shown(answer(plan, { delays, carriers: { flights: 6 } }, { ageUs: 2_000_000 })).share).toEqual([0.5, STALE]);
  expect(shown(answer(plan, { delays, carriers: 'missing' })).share).toEqual([1.5, DEFAULTED]);
});

test('a derived feature of a view is a feature: alone, through others, with the policies of its reference', () => {
  const reference = { view: 'delays', feature: 'tripled', alias: 'tripled' };
  const plan = planOf({ features: [reference] });
  expect(shown(answer(plan, { delays: { n: 4, total: 6 } }))).toEqual({ tripled: [4.5, PRESENT] });
  expect(plan.features[0]?.view).toBe(0);
  expect(shown(answer(plan, { delays: 'missing' })).tripled).toEqual([null, NOT_FOUND]);
  const kind = { $case: 'doubleValue', value: -1 } as const;
  const withDefault = planOf({ features: [{ ...reference, defaultValue: { kind } }] });
  expect(shown(answer(withDefault, { delays: 'missing' })).tripled).toEqual([-1, DEFAULTED]);
  const aged = (staleAction: definitions.StaleAction) =>
    answer(
      planOf({ features: [{ ...reference, defaultValue: { kind }, maxAgeUs: 1_000_000n, staleAction }] }),
      { delays: { n: 4, total: 6 } },
      { ageUs: 2_000_000 },
    );
  const { SERVE, NULL: nulls, DEFAULT, FAIL } = definitions.StaleAction;
  expect(shown(aged(SERVE)).tripled).toEqual([4.5, STALE]);
  expect(shown(aged(nulls)).tripled).toEqual([null, STALE]);
  expect(shown(aged(DEFAULT)).tripled).toEqual([-1, DEFAULTED]);
  expect(() => aged(FAIL)).toThrow(expect.objectContaining({ reason: 'FEATURE_STALE' }));
});

test('a feature of the read time alone needs the keys of its view, and no row', () => {
  const plan = planOf({ features: [{ view: 'delays', feature: 'hour', alias: 'hour' }] });
  expect(plan.keys.map(({ name }) => name)).toEqual(['code']);
  expect(shown(answer(plan, { delays: 'missing' })).hour).toEqual([12, PRESENT]);
});

test('request data is checked against the fields, and numbers are taken where they are exact', () => {
  const plan = planOf({
    features: [],
    derived: [{ name: 'sum', expression: '(flag ? i : 0) + d', description: '' }],
    requestFields: [
      { name: 'i', type: INT64, nullable: false },
      { name: 'd', type: DOUBLE, nullable: true },
      { name: 'flag', type: BOOL, nullable: false },
    ],
  });
  const flag = { name: 'flag', kind: 'DOUBLE', values: [1] } as const;
  const sum = (...given: RequestDataColumn[]) => shown(answer(plan, {}, { request: [flag, ...given] })).sum;
  const i = (...values: RequestDataColumn['values']) => ({ name: 'i', kind: 'DOUBLE', values }) as const;
  expect(sum(i(2), { name: 'd', kind: 'INT64', values: [3n] })).toEqual([5, PRESENT]);
  expect(sum(i(2))).toEqual([null, NULL]);
  expect(() => sum()).toThrow(expect.objectContaining({ reason: 'MISSING_REQUEST_DATA' }));
  expect(() => sum(i(null))).toThrow(/"i" of row 0 is null, and it is not nullable/);
  expect(() => sum(i(1.5))).toThrow(expect.objectContaining({ reason: 'WRONG_TYPE' }));
  expect(() => sum(i(1, 2))).toThrow(/2 values for 1 rows/);
  expect(() => sum(i(1), { name: 'extra', kind: 'DOUBLE', values: [1] })).toThrow(/"extra" is not a request field/);
});

test('the bytes of an answer with derived features are what the generated code reads', () => {
  const matrix = answer(ratio, { delays: { n: 3, total: 6 }, carriers: { flights: 12 } }, { request });
  const read = serving.GetFeaturesResponse.decode(encodeMatrix(matrix));
  expect(read.features.map(({ name, view: at }) => [name, at])).toEqual([
    ['n', 0],
    ['flights', 1],
    ['twice', -1],
    ['share', -1],
    ['known', 1],
    ['per_mile', 0],
    ['noted', -1],
  ]);
  expect(read.int64s).toEqual([3n, 12n, 12n]);
  expect(read.doubles).toEqual([0.5, 0.25, 1.5]);
});
