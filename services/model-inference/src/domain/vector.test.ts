import { definitions, serving } from '@millrace/contracts';
import { expect, test } from 'vitest';
import { assembleVectors, nulledWhenStale } from './vector.ts';

const { PRESENT, NULL, NOT_FOUND, STALE, DEFAULTED } = serving.ValueStatus;
const nowUs = 1_000_000;

type Column =
  | { readonly feature: string; readonly fill?: number }
  | { readonly request: string; readonly fill?: number };

const modelOf = (...columns: readonly Column[]) => ({
  name: 'm',
  spec: definitions.Model.fromPartial({
    inputColumns: columns.map(({ fill, ...source }) => ({
      source:
        'feature' in source
          ? { $case: 'feature' as const, value: source.feature }
          : { $case: 'requestField' as const, value: source.request },
      ...(fill === undefined ? {} : { fill }),
    })),
  }),
});

const viewOf = (...eventTimesUs: readonly number[]) => {
  const nothing = new Float64Array(eventTimesUs.length);
  const times = { eventTimesUs: Float64Array.from(eventTimesUs), positions: nothing, knownTimesUs: nothing };
  return { view: 'v', version: '', ...times };
};

/** Two rows: a DOUBLE of each view and an INT64 between them, whose blocks are columns of their own. */
const features = (statuses: readonly number[] = new Array<number>(6).fill(PRESENT)) => ({
  response: {
    doubles: Float64Array.of(1.5, 2.5, 3.5, 4.5),
    int64s: Float64Array.of(7, 8),
    statuses: Buffer.from(statuses),
    features: [
      { name: 'd0', type: 'DOUBLE', block: 1, column: 0, view: 0 },
      { name: 'i0', type: 'INT64', block: 2, column: 0, view: 1 },
      { name: 'd1', type: 'DOUBLE', block: 1, column: 1, view: 1 },
    ],
    views: [viewOf(900_000, 0), viewOf(400_000, 1_000_500)],
    version: '',
  },
  nulledWhenStale: new Set<string>(),
});

const asOf = Float64Array.of(nowUs, nowUs);

test('columns are in the order of the model, each from its own place', () => {
  const model = modelOf({ request: 'r' }, { feature: 'd1' }, { feature: 'i0' }, { feature: 'd0' });
  const vectors = assembleVectors(model, features(), [{ name: 'r', doubles: [10, 20] }], asOf);
  expect(vectors.names).toEqual(['r', 'd1', 'i0', 'd0']);
  expect([...vectors.values]).toEqual([10, 2.5, 7, 1.5, 20, 4.5, 8, 3.5]);
  // request data has no age, nor has a value without an event; one from after the read time is 0 old
  expect([...vectors.agesUs]).toEqual([-1, 600_000, 600_000, 100_000, -1, 0, 0, -1]);
});

test('a null is NaN with its status, or the fill', () => {
  const statuses = [NULL, NOT_FOUND, DEFAULTED, PRESENT, PRESENT, PRESENT];
  const model = modelOf({ feature: 'd0' }, { feature: 'i0', fill: -1 }, { feature: 'd1' }, { request: 'r', fill: 0 });
  const request = [{ name: 'r', doubles: [Number.NaN, 2] }];
  const vectors = assembleVectors(model, features(statuses), request, asOf);
  expect([...vectors.values]).toEqual([Number.NaN, -1, 2.5, 0, 3.5, 8, 4.5, 2]);
  expect([...vectors.statuses]).toEqual([NULL, NOT_FOUND, DEFAULTED, PRESENT, PRESENT, PRESENT, PRESENT, PRESENT]);
});

test('a stale value is a value, but a null where that is the policy, whatever its type', () => {
  const stale = features([STALE, STALE, STALE, PRESENT, PRESENT, PRESENT]);
  const model = modelOf({ feature: 'd0' }, { feature: 'i0' }, { feature: 'd1' });
  const served = assembleVectors(model, stale, [], asOf);
  expect([...served.values].slice(0, 3)).toEqual([1.5, 7, 2.5]);
  const nulled = assembleVectors(model, { ...stale, nulledWhenStale: new Set(['d0', 'i0']) }, [], asOf);
  expect([...nulled.values].slice(0, 3)).toEqual([Number.NaN, Number.NaN, 2.5]);
  expect([...nulled.statuses].slice(0, 3)).toEqual([STALE, STALE, STALE]);
});

test('the features that are null when stale go by their names in the service', () => {
  const { NULL: nulls, SERVE: serves } = definitions.StaleAction;
  const service = definitions.FeatureService.fromPartial({
    features: [
      { view: 'v', feature: 'a', staleAction: nulls },
      { view: 'v', feature: 'b', alias: 'bee', staleAction: nulls },
      { view: 'v', feature: 'c', staleAction: serves },
    ],
  });
  expect([...nulledWhenStale(service)]).toEqual(['v__a', 'bee']);
  expect(nulledWhenStale(undefined).size).toBe(0);
});

test('what is not there is named', () => {
  const refused = (column: Column, request: { name: string; doubles: number[] }[] = []) => {
    try {
      assembleVectors(modelOf(column), features(), request, asOf);
    } catch (error) {
      return error;
    }
    return undefined;
  };
  expect(refused({ feature: 'zz' })).toMatchObject({ reason: 'NOT_READY', metadata: { feature: 'zz' } });
  expect(refused({ request: 'r' }, [{ name: 'q', doubles: [1, 2] }])).toMatchObject({
    reason: 'MISSING_REQUEST_DATA',
    message: 'model "m" needs request data "r"; given: q',
  });
  expect(refused({ request: 'r' }, [{ name: 'r', doubles: [1] }])).toMatchObject({ reason: 'INVALID_ARGUMENT' });
});
