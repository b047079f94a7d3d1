import { definitions } from '@millrace/contracts';
import type { Scalar } from '@millrace/features';
import { sourceFieldsOf } from '@millrace/registry';
import { compileRowChecks } from '@millrace/sources';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Problem } from '../domain/problem.ts';
import type { RawEvent } from '../domain/raw-event.ts';
import { compileGate } from '../domain/row-gate.ts';
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
  return {
    refusals,
    books: [...books.values()],
    sort: (events: readonly RawEvent[], onBlock: 'refuse' | 'quarantine' = 'refuse') =>
      sortBatch({ validator, openGate }, ids, newTicket(Promise.resolve()), events, {
        limits: { nowUs, frontierUs: 0 },
        onBlock,
        onRefusal: (name) => refusals.push(name),
      }),
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
