import { setImmediate as turn } from 'node:timers/promises';
import { definitions, serving } from '@millrace/contracts';
import { type Column, compileView, rowView, type ViewDefinition } from '@millrace/features';
import { createSystemClock } from '@millrace/kernel';
import { quietTelemetry } from '@millrace/runtime';
import { expect, test } from 'vitest';
import { compilePlan } from '../domain/compile-plan.ts';
import { type Matrix, statusAt, valueAt } from '../domain/matrix.ts';
import type { ReadRequest } from '../domain/request.ts';
import { createAdmission } from './admission.ts';
import { createReadFeatures } from './read-features.ts';
import type { RowStore } from './row-store.ts';
import { type ServedRows, sampled } from './served-sampler.ts';

const nowUs = Date.UTC(2024, 0, 1) * 1000;
const { NULL: NULLED, DEFAULT, SERVE } = definitions.StaleAction;

const viewOf = (name: string, entity: string, key: string, field: string): ViewDefinition => ({
  ...{ name, entity, version: '1', source: name },
  joinKeys: [{ name: key, type: 'STRING', field: 'key' }],
  fields: ['key', field].map((each) => ({ name: each, type: 'STRING', nullable: true })),
  features: [
    { name: field, function: 'last', field, window: { t: 'lifetime' }, filter: '', ddof: 1 },
    { name: 'n', function: 'count', field: '', window: { t: 'lifetime' }, filter: '', ddof: 1 },
  ],
});
const views = [
  viewOf('flights', 'flight', 'flight', 'tail'),
  viewOf('aircraft', 'plane', 'number', 'carrier'),
  viewOf('carriers', 'carrier', 'code', 'country'),
];

function rowOf(view: ViewDefinition, value: string | null, ageUs: number): DataView {
  const compiled = compileView(view);
  const state = compiled.newState();
  const text = (given: string | null): Column => ({
    type: 'str',
    values: [given ?? ''],
    nulls: Uint8Array.of(Number(given === null)),
  });
  const columns = new Map([
    ['key', text('k')],
    [view.fields[1]?.name ?? '', text(value)],
  ]);
  const bound = compiled.bind({ count: 1, eventTimeUs: Float64Array.of(nowUs - ageUs), columns });
  compiled.apply(state, bound, 0, nowUs - ageUs, 7, 0);
  return rowView(compiled.writeRow(state, { position: 7, knownTimeUs: nowUs }));
}
const [flights, aircraft, carriers] = views as [ViewDefinition, ViewDefinition, ViewDefinition];
const stored = new Map([
  ['{flight:f1}', rowOf(flights, 'N1', 10)],
  ['{flight:f2}', rowOf(flights, 'N1', 20)],
  ['{flight:f3}', rowOf(flights, 'N3', 30)],
  ['{flight:f4}', rowOf(flights, null, 40)],
  ['{flight:old}', rowOf(flights, 'N1', 5_000_000)],
  ['{plane:N1}', rowOf(aircraft, 'AA', 1_000)],
  ['{plane:unknown}', rowOf(aircraft, 'none', 1)],
  ['{carrier:AA}', rowOf(carriers, 'US', 2_000_000)],
]);

type Reference = Parameters<typeof definitions.FeatureReference.fromPartial>[0];
const through = (joinKey: string, from: string) => ({ through: [{ joinKey, from }] });
const chain = (tail: Reference = {}): Reference[] => [
  { view: 'flights', feature: 'tail', alias: 'tail', ...tail },
  { view: 'aircraft', feature: 'n', alias: 'flown', ...through('number', 'tail') },
  { view: 'aircraft', feature: 'carrier', alias: 'carrier', ...through('number', 'tail') },
  {
    ...{ view: 'carriers', feature: 'country', alias: 'country', ...through('code', 'carrier') },
    defaultValue: { kind: { $case: 'stringValue', value: '?' } },
  },
];

function open(features: readonly Reference[], lost: (key: string) => boolean = () => false) {
  const asked: string[][] = [];
  const store: RowStore = {
    read(reads, _timeoutMs, take) {
      asked.push(reads.map(({ key }) => key));
      const unanswered = [...reads.keys()].filter((at) => lost(reads[at]?.key ?? ''));
      for (const [at, { key, entity }] of reads.entries())
        if (!unanswered.includes(at))
          take(
            at,
            entity.versions.map(() => stored.get(key) ?? null),
          );
      return Promise.resolve(unanswered);
    },
  };
  const spec = definitions.FeatureService.fromPartial({ features: [...features] });
  const plan = compilePlan(
    { name: 's', version: '1', spec },
    (name) => views.find((each) => each.name === name) as ViewDefinition,
  );
  const clock = createSystemClock();
  const limits = { rowsMax: 100, readTimeoutMs: 1_000, partialReserveMs: 1, historyTimeoutMs: 1 };
  const admitted = { inFlightRowsMax: 1e6, callerInFlightRowsMax: 1e6, callerRowsPerSMax: 0, queueTargetMs: 1_000 };
  const read = createReadFeatures({
    ...{ rows: store, clock, limits },
    plans: { current: () => plan, load: async () => plan, list: () => [plan], refresh: async () => {} },
    history: { read: async () => new Map() },
    admission: createAdmission(admitted, { refused: () => {}, state: () => {} }),
    onHistoryProblem: () => {},
  });
  const call = { deadlineMs: undefined, caller: 'test', signal: new AbortController().signal };
  const request = (flightsAsked: readonly string[], allowPartial = false): ReadRequest => ({
    ...{ featureService: 's', version: '', asOfUs: nowUs, asOfUsByRow: new Float64Array() },
    keys: [{ name: 'flight', kind: 'STRING', values: flightsAsked, nullRow: -1 }],
    ...{ allowPartial, allowHistory: false, omitMetadata: false },
  });
  return {
    asked,
    plan,
    read: (...given: Parameters<typeof request>) => read(request(...given), call),
    readRequest: read,
    request,
    call,
  };
}

const statusNames = Object.fromEntries(Object.entries(serving.ValueStatus).map(([name, number]) => [number, name]));
const shown = (matrix: Matrix, row: number) =>
  Object.fromEntries(
    matrix.plan.features.map(({ name }, at) => [
      name,
      `${String(valueAt(matrix, row, at))} ${statusNames[statusAt(matrix, row, at)]}`,
    ]),
  );

test('a level is one round trip for all rows, each key once, and a row without a key asks for nothing', async () => {
  const { asked, read, plan } = open(chain());
  const matrix = await read(['f1', 'f2', 'f3', 'f4', 'f5']);
  expect(asked).toEqual([
    expect.arrayContaining(['{flight:f1}', '{flight:f2}', '{flight:f3}', '{flight:f4}', '{flight:f5}']),
    expect.arrayContaining(['{plane:N1}', '{plane:N3}']),
    ['{carrier:AA}'],
  ]);
  expect(asked.map(({ length }) => length)).toEqual([5, 2, 1]);
  const found = { tail: 'N1 PRESENT', flown: '1 PRESENT', carrier: 'AA PRESENT', country: 'US PRESENT' };
  const nothing = { flown: 'null NOT_FOUND', carrier: 'null NOT_FOUND', country: '? DEFAULTED' };
  expect([0, 1, 2, 3, 4].map((row) => shown(matrix, row))).toEqual([
    found,
    found,
    { tail: 'N3 PRESENT', ...nothing },
    { tail: 'null NULL', ...nothing },
    { tail: 'null NOT_FOUND', ...nothing },
  ]);
  expect(plan.keys.map(({ name }) => name)).toEqual(['flight']);
  expect(plan.views.map(({ name }) => name)).toEqual(['flights', 'aircraft', 'carriers']);
});

test('a key that was not read in time says nothing of what it would have found', async () => {
  const { asked, read } = open(chain(), (key) => key === '{flight:f1}' || key === '{carrier:AA}');
  const matrix = await read(['f1', 'f2'], true);
  expect(asked.slice(1)).toEqual([['{plane:N1}'], ['{carrier:AA}']]);
  expect(shown(matrix, 0)).toEqual({
    tail: 'null UNAVAILABLE',
    flown: 'null UNAVAILABLE',
    carrier: 'null UNAVAILABLE',
    country: 'null UNAVAILABLE',
  });
  expect(shown(matrix, 1)).toMatchObject({ carrier: 'AA PRESENT', country: 'null UNAVAILABLE' });
  await expect(read(['f2'])).rejects.toThrow(/row store did not answer/);
});

test('the policy of a stale key goes first; the status of what it found is that of its own row', async () => {
  const second = { maxAgeUs: 1_000_000n };
  const unknown = { defaultValue: { kind: { $case: 'stringValue' as const, value: 'unknown' } } };
  const answerOf = async (tail: Reference) => shown(await open(chain(tail)).read(['old']), 0);
  expect(await answerOf({ ...second, staleAction: SERVE })).toMatchObject({ tail: 'N1 STALE', carrier: 'AA PRESENT' });
  expect(await answerOf({ ...second, staleAction: NULLED })).toMatchObject({
    tail: 'null STALE',
    carrier: 'null NOT_FOUND',
  });
  expect(await answerOf({ ...second, ...unknown, staleAction: DEFAULT })).toMatchObject({
    tail: 'unknown DEFAULTED',
    carrier: 'none PRESENT',
    country: '? DEFAULTED',
  });
  const [tail, , carrier] = chain();
  const stale = open([tail ?? {}, { ...carrier, maxAgeUs: 500n, staleAction: NULLED }]);
  expect(shown(await stale.read(['f1']), 0)).toEqual({ tail: 'N1 PRESENT', carrier: 'null STALE' });
});

test('the same view is read by the request and by a lookup, and each has an age of its own', async () => {
  const { asked, read } = open([
    { view: 'flights', feature: 'tail', alias: 'tail' },
    { view: 'aircraft', feature: 'carrier', alias: 'carrier', ...through('number', 'tail') },
    { view: 'flights', feature: 'n', alias: 'of_carrier', ...through('flight', 'carrier') },
    { view: 'flights', feature: 'n', alias: 'own' },
  ]);
  const matrix = await read(['f1']);
  expect(asked).toEqual([['{flight:f1}'], ['{plane:N1}'], ['{flight:AA}']]);
  expect(shown(matrix, 0)).toMatchObject({ of_carrier: 'null NOT_FOUND', own: '1 PRESENT' });
  expect(matrix.plan.features.map(({ view }) => view)).toEqual([0, 1, 2, 0]);
  const times = matrix.eventTimesAt.map((at) => Number(matrix.data.getBigInt64(at, true)));
  expect(times).toEqual([nowUs - 10, nowUs - 1_000, 0]);
});

test('the verifier is told what was looked up under the key that found it', async () => {
  const { readRequest, request, call } = open(chain({ hidden: true }));
  const published: ServedRows[] = [];
  const read = sampled(readRequest, {
    rowsPerSecond: 100,
    publish: (served) => published.push(served) > 0,
    clock: createSystemClock(),
    metrics: quietTelemetry().metrics,
  });
  await read(request(['f1', 'f4']), call);
  await turn();
  const told = published.map(({ view, keyNames, rows }) => [
    view.name,
    keyNames,
    rows.map(({ keys, values }) => [keys, values]),
  ]);
  expect(told.filter(([name]) => name !== 'flights')).toEqual([
    ['aircraft', ['number'], [[['N1'], [1, 'AA']]]],
    ['carriers', ['code'], [[['AA'], ['US']]]],
  ]);
});
