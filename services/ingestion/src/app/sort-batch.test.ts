import { definitions } from '@millrace/contracts';
import type { Scalar } from '@millrace/features';
import { sourceFieldsOf } from '@millrace/registry';
import { compileRowChecks } from '@millrace/sources';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Problem } from '../domain/problem.ts';
import type { RawEvent } from '../domain/raw-event.ts';
import { compileGate } from '../domain/row-gate.ts';
import { compileSetGate, type SetMode } from '../domain/set-gate.ts';
import { compileSource } from '../domain/source-validator.ts';
import type { ValueSources } from '../domain/treatments.ts';
import { UniqueBook } from '../domain/unique-book.ts';
import { IdBook, newTicket } from './id-book.ts';
import { sortBatch } from './sort-batch.ts';

const nowUs = Date.UTC(2026, 0, 1) * 1000;
const { DOUBLE, INT64, STRING } = definitions.FieldType;
type SpecPart = Parameters<typeof definitions.Source.fromPartial>[0];

const emptyIndex = {
  mark: () => ({ position: 0, tallies: {} }),
  find: () => undefined,
  hasForgotten: () => false,
  markForgotten: () => {},
  record: async () => {},
  wipe: async () => {},
  close: async () => {},
};

const event = (id: string, fields: object, timeUs = nowUs): RawEvent => ({
  id,
  eventTimeUs: timeUs,
  payload: Buffer.from(JSON.stringify(fields)),
  form: 'fields',
});

function gateOf(part: SpecPart, values?: ValueSources, keysMax = 1_000) {
  const spec = definitions.Source.fromPartial(part);
  const checks = compileRowChecks(spec, sourceFieldsOf(spec));
  const books = new Map(checks.uniques.map((unique) => [unique, new UniqueBook({ ...unique, keysMax })]));
  const validator = compileSource({ name: 's', version: 'v', spec }, values);
  const openGate = compileGate(checks, (unique) => books.get(unique) as UniqueBook);
  const ids = new IdBook(emptyIndex);
  const refusals: string[] = [];
  const verdicts: string[] = [];
  return {
    refusals,
    books: [...books.values()],
    verdicts,
    sort: (events: readonly RawEvent[], onBlock: 'refuse' | 'quarantine' = 'refuse', sets?: SetMode) =>
      sortBatch(
        { validator, openGate, openSets: compileSetGate({ spec }) },
        ids,
        newTicket(Promise.resolve()),
        events,
        {
          limits: { nowUs, frontierUs: 0 },
          onBlock,
          sets,
          onVerdicts: (found) => verdicts.push(...found.map(({ outcome }) => outcome)),
          onRefusal: (name) => refusals.push(name),
        },
      ),
  };
}

const what = ({ outcomes }: { readonly outcomes: readonly (string | Problem)[] }) =>
  outcomes.map((outcome) => (outcome instanceof Problem ? outcome.expectation || outcome.reason : outcome));

const amount = { name: 'amount', type: DOUBLE, nullable: true };
const range = (name: string, severity: 1 | 2 | 3) =>
  ({ name, severity, check: { $case: 'inRange', value: { field: 'amount', min: 0 } } }) as const;

test('warn passes and is told, quarantine sets the event aside with the name of the expectation', () => {
  const warning = gateOf({ fields: [amount], expectations: [range('soft', 1)] });
  const sorted = warning.sort([event('a', { amount: 1 }), event('b', { amount: -1 }), event('c', { amount: -2 })]);
  expect(what(sorted)).toEqual(['accepted', 'accepted', 'accepted']);
  expect([...sorted.warnings.values()]).toMatchObject([{ expectation: 'soft', events: 2 }]);
  const hard = gateOf({ fields: [amount], expectations: [range('hard', 2)] });
  expect(what(hard.sort([event('a', { amount: 1 }), event('b', { amount: -1 })]))).toEqual(['accepted', 'hard']);
});

test('block refuses the whole batch, takes no id, and the corrected batch is accepted', () => {
  const gate = gateOf({
    fields: [amount, { name: 'order', type: STRING }],
    expectations: [
      range('never', 3),
      { name: 'once', check: { $case: 'unique', value: { fields: ['order'], windowUs: 1_000_000n } } },
    ],
  });
  const good = event('a', { amount: 1, order: 'x' });
  expect(() => gate.sort([good, event('b', { amount: -1, order: 'y' })])).toThrow(
    /refused.*event 1 \(id "b"\).*never/s,
  );
  expect(gate.refusals).toEqual(['never']);
  expect(gate.books[0]?.size).toBe(0);
  expect(what(gate.sort([good, event('b', { amount: 2, order: 'y' })]))).toEqual(['accepted', 'accepted']);
  expect(what(gate.sort([event('c', { amount: -1, order: 'z' })], 'quarantine'))).toEqual(['never']);
});

test('an accepted event that is sent again is a duplicate, even where the gate would now refuse it', () => {
  const gate = gateOf({
    fields: [{ name: 'order', type: STRING }],
    expectations: [{ name: 'once', check: { $case: 'unique', value: { fields: ['order'], windowUs: 1_000_000n } } }],
  });
  expect(what(gate.sort([event('a', { order: 'x' }), event('a', { order: 'x' })]))).toEqual(['accepted', 'duplicate']);
  expect(what(gate.sort([event('a', { order: 'x' }), event('b', { order: 'x' })]))).toEqual(['duplicate', 'once']);
});

test('uniqueness within a window agrees with a brute force, in whatever order times come', () => {
  const step = fc.record({ key: fc.constantFrom('p', 'q'), at: fc.integer({ min: 0, max: 12 }) });
  fc.assert(
    fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
      const gate = gateOf({
        fields: [{ name: 'order', type: STRING }],
        expectations: [{ name: 'once', check: { $case: 'unique', value: { fields: ['order'], windowUs: 5n } } }],
      });
      // late events are told apart as long as they lie within the window of the newest
      let newest = 0;
      const kept: { key: string; at: number }[] = [];
      const expected: string[] = [];
      const events: RawEvent[] = [];
      for (const [index, { key, at }] of steps.entries()) {
        if (at <= newest - 5) continue;
        const collides = kept.some((other) => other.key === key && Math.abs(other.at - at) < 5);
        if (!collides) kept.push({ key, at });
        if (!collides) newest = Math.max(newest, at);
        expected.push(collides ? 'once' : 'accepted');
        events.push(event(`e${index}`, { order: key }, nowUs - 100 + at));
      }
      if (events.length > 0) expect(what(gate.sort(events))).toEqual(expected);
    }),
    { numRuns: 1_000 },
  );
});

test('remembered keys are bounded: those that were touched longest ago go, and are counted', () => {
  const book = new UniqueBook({ windowUs: 1e6, keysMax: 10 });
  for (let at = 0; at < 25; at++) book.add(`k${at}`, `e${at}`, nowUs);
  expect({ size: book.size, dropped: book.dropped }).toEqual({ size: 10, dropped: 15 });
});

const fitted = { mean: 10.4, stddev: 2, q1: 9, median: 10, q3: 11 };
const sources: ValueSources = {
  fitted: (field) => (field === 'unfitted' ? undefined : fitted),
  latest: (_field, key, timeUs): Scalar | undefined => (key === 'k' && timeUs >= nowUs ? 7 : undefined),
};
const value = (number: number) => ({ kind: { $case: 'doubleValue', value: number } }) as const;

const treated: readonly [name: string, field: object, sent: unknown, becomes: unknown][] = [
  ['a default for what is absent', { defaultValue: value(3) }, undefined, 3],
  ['a default for null where null is not allowed', { defaultValue: value(3) }, null, 3],
  ['null for null where it is allowed, default or not', { nullable: true, defaultValue: value(3) }, null, null],
  ['the default for null where the policy says so', { nullable: true, missing: 2, defaultValue: value(3) }, null, 3],
  ['a rejection by policy', { nullable: true, missing: 1 }, null, 'NULL_NOT_ALLOWED'],
  ['the latest value of the key', { missing: 3 }, undefined, 7],
  ['the mean', { missing: 4 }, undefined, 10.4],
  ['the mean of integers, rounded', { type: INT64, missing: 4 }, undefined, 10n],
  ['the median', { missing: 5 }, null, 10],
  ['a rejection until it is fitted', { name: 'unfitted', missing: 4 }, undefined, 'MISSING_FIELD'],
  ['the default until it is fitted', { name: 'unfitted', missing: 4, defaultValue: value(3) }, undefined, 3],
  ['the given bound for an outlier', { outliers: { action: 2, min: 0, max: 5 } }, 9, 5],
  ['itself within the bounds', { outliers: { action: 2, min: 0, max: 5 } }, 5, 5],
  ['the bound by z-score', { outliers: { action: 2, zScore: 3 } }, 100, 10.4 + 3 * 2],
  ['the bound by z-score of integers, inward', { type: INT64, outliers: { action: 2, zScore: 3 } }, 100, 16n],
  ['the bound by interquartile range', { outliers: { action: 2, iqr: 1.5 } }, -100, 9 - 1.5 * 2],
  ['null for an outlier', { nullable: true, outliers: { action: 3, iqr: 1.5 } }, 100, null],
  ['the median for an outlier that becomes null', { missing: 5, outliers: { action: 3, iqr: 1.5 } }, 100, 10],
  ['itself for an outlier that is flagged', { outliers: { action: 1, iqr: 1.5 } }, 100, 100],
];

test.each(treated)('a value becomes %s', (_name, field, sent, becomes) => {
  const spec = { name: 'x', type: DOUBLE, ...field };
  const gate = gateOf({ fields: [spec, { name: 'k', type: STRING }], keyField: 'k' }, sources);
  const { outcomes, rows } = gate.sort([event('a', { ...(sent === undefined ? {} : { [spec.name]: sent }), k: 'k' })]);
  const [outcome] = outcomes;
  const column = rows.columns({ t: 'range', from: 0, to: 1 }).get(spec.name);
  const got = outcome instanceof Problem ? outcome.reason : column?.nulls?.[0] === 1 ? null : column?.values[0];
  expect(got).toEqual(becomes);
});

test('what was treated does not change the payload’s hash: a redelivery after another fit is a duplicate', () => {
  const spec = { fields: [{ name: 'x', type: DOUBLE, missing: 4 as const }] };
  const hashOf = (mean: number) => {
    const gate = gateOf(spec, { fitted: () => ({ ...fitted, mean }), latest: () => undefined });
    return gate.sort([event('a', {})]).rows.hashes[0];
  };
  expect(hashOf(1)).toBe(hashOf(2));
});

const batchOf = (values: readonly (number | null)[], from = 0) =>
  values.map((value, at) => event(`e${from + at}`, { amount: value }));
const perBatch = (severity: 1 | 2 | 3, minRows?: number): SpecPart => ({
  fields: [amount],
  expectations: [
    {
      name: 'complete',
      severity,
      perBatch: { minRows },
      check: { $case: 'completeness', value: { field: 'amount', minRate: 0.5 } },
    },
  ],
});
const again: SetMode = { t: 'again', expectation: 'complete' };

test('a batch that fails as a whole is set aside as a whole, each event with the field where it is at fault; no id is taken', () => {
  const gate = gateOf(perBatch(2, 3));
  const bad = [...batchOf([1, null, null, null]), event('wrong', { amount: 'high' })];
  const { outcomes, rejected, rows } = gate.sort(bad);
  expect(what({ outcomes })).toEqual(['complete', 'complete', 'complete', 'complete', 'WRONG_TYPE']);
  expect(rows.count).toBe(0);
  expect(rejected.map(({ id, why, batch }) => [id, why.field, batch?.events])).toEqual([
    ['e0', '', 4],
    ['e1', 'amount', 4],
    ['e2', 'amount', 4],
    ['e3', 'amount', 4],
    ['wrong', 'amount', undefined],
  ]);
  expect(rejected[0]?.why.message).toContain('1 of 4 has a value in field "amount", expected at least 0.5');
  expect(gate.sort(bad).rejected[0]?.batch?.id).toBe(rejected[0]?.batch?.id);
  expect(what(gate.sort(batchOf([1, 2, 3, null])))).toEqual(['accepted', 'accepted', 'accepted', 'accepted']);
});

test('a batch of too few rows is not judged; what was set aside is not let in for want of rows, but by its name', () => {
  const gate = gateOf(perBatch(2, 3));
  expect(what(gate.sort(batchOf([null, null])))).toEqual(['accepted', 'accepted']);
  expect(gate.verdicts).toEqual(['INSUFFICIENT_DATA']);
  const rest = batchOf([null, null], 10);
  expect(what(gate.sort(rest, 'quarantine', again))).toEqual(['complete', 'complete']);
  expect(what(gate.sort(rest, 'quarantine', { t: 'waived' }))).toEqual(['accepted', 'accepted']);
  // of a batch that is sent again, nothing is new and nothing is judged
  expect(what(gate.sort(rest))).toEqual(['duplicate', 'duplicate']);
  expect(gate.verdicts).toHaveLength(2);
});

test('one event of a batch that is sent again after all others is judged with them', () => {
  const gate = gateOf(perBatch(2, 3));
  expect(what(gate.sort(batchOf([1, 2, 3, 4])))).toHaveLength(4);
  expect(what(gate.sort(batchOf([1, 2, 3, 4, null])))).toEqual([...Array(4).fill('duplicate'), 'accepted']);
  // an event that comes twice in a batch counts once
  const twice = event('t', { amount: 1 });
  expect(what(gate.sort([twice, twice, twice, ...batchOf([null, null], 20)]))).toEqual([
    'complete',
    'duplicate',
    'duplicate',
    'complete',
    'complete',
  ]);
});

test('warn of a batch is told and passes, block refuses it, and where nobody waits sets it aside', () => {
  const bad = batchOf([null, null, null]);
  const soft = gateOf(perBatch(1, 3)).sort(bad);
  expect(what(soft)).toEqual(['accepted', 'accepted', 'accepted']);
  expect([...soft.warnings.values()]).toMatchObject([{ expectation: 'complete', events: 3 }]);
  const hard = gateOf(perBatch(3, 3));
  expect(() => hard.sort(bad)).toThrow(/batch of 3 events.*refused.*0 of 3 has a value.*at least 0.5/s);
  expect(what(hard.sort(bad, 'quarantine'))).toEqual(['complete', 'complete', 'complete']);
});

test('whole batches of a correctable source leave no trace when they are set aside', () => {
  const gate = gateOf({ ...perBatch(2, 3), changes: definitions.Changes.UPSERT });
  const change = (id: string, value: number | null, sequence: bigint): RawEvent => ({
    ...event(id, { amount: value }),
    sequence,
  });
  const remove = (id: string): RawEvent => ({ ...event(id, {}), operation: 'delete', sequence: 9n });
  expect(what(gate.sort([change('a', 1, 1n), change('b', 1, 1n), change('c', 1, 1n)]))).toHaveLength(3);
  const bad = [change('a', null, 2n), change('b', null, 2n), change('b', null, 3n), remove('c')];
  expect(what(gate.sort(bad))).toEqual(Array(4).fill('complete'));
  expect(what(gate.sort([change('a', 5, 2n), change('b', 5, 2n), change('c', 5, 2n)]))).toEqual(
    Array(3).fill('accepted'),
  );
});

test('the verdicts of batches are those of brute force', () => {
  const fields = [amount, { name: 'kind', type: STRING, nullable: true }];
  const checks = {
    complete: { $case: 'completeness', value: { field: 'amount', minRate: 0.7 } },
    distinct: { $case: 'distinctness', value: { field: 'kind', minRate: 0.6 } },
    volume: { $case: 'volume', value: { minRows: 4n, maxRows: 30n } },
    median: { $case: 'quantile', value: { field: 'amount', q: 0.5, min: 0, max: 5 } },
  } as const;
  const row = fc.record({
    amount: fc.option(fc.integer({ min: -3, max: 9 }), { freq: 3 }),
    kind: fc.option(fc.constantFrom('a', 'b', 'c', 'd', 'e')),
  });
  fc.assert(
    fc.property(
      fc.array(row, { minLength: 1, maxLength: 40 }),
      fc.constantFrom(...Object.keys(checks)),
      (rows, name) => {
        const check = checks[name as keyof typeof checks];
        const gate = gateOf({ fields, expectations: [{ name, severity: 2, perBatch: { minRows: 2 }, check }] });
        const sorted = gate.sort(rows.map((fields, at) => event(`r${at}`, fields)));
        const amounts = rows.flatMap(({ amount: value }) => value ?? []).sort((a, b) => a - b);
        const kinds = rows.flatMap(({ kind }) => kind ?? []);
        const half = (amounts.length - 1) / 2;
        const middle = ((amounts[Math.floor(half)] ?? 0) + (amounts[Math.ceil(half)] ?? 0)) / 2;
        const fails = {
          complete: amounts.length / rows.length < 0.7,
          distinct: kinds.length > 0 && new Set(kinds).size / kinds.length < 0.6,
          volume: rows.length < 4 || rows.length > 30,
          median: amounts.length > 0 && (middle < 0 || middle > 5),
        }[name];
        const isAside = rows.length >= 2 && fails === true;
        expect(new Set(what(sorted))).toEqual(new Set([isAside ? name : 'accepted']));
      },
    ),
  );
});
