import { expectations } from '@millrace/contracts';
import type { Column, SourceField } from '@millrace/features';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compileFeatureChecks, type FeatureBatch } from './feature-checks.ts';

const fields: SourceField[] = [
  { name: 'x', type: 'DOUBLE', nullable: true },
  { name: 'kind', type: 'STRING', nullable: true },
];
type Row = { readonly x: number | null; readonly kind: string | null };

const given = [
  { name: 'there', check: { $case: 'notNull', value: { field: 'x' } } },
  { name: 'range', check: { $case: 'inRange', value: { field: 'x', min: -1, max: 1 } } },
  { name: 'set', check: { $case: 'inSet', value: { field: 'kind', values: ['a', 'b'] } } },
  { name: 'regex', check: { $case: 'matches', value: { field: 'kind', pattern: '^[ab]$' } } },
  { name: 'cel', check: { $case: 'condition', value: { cel: 'x > 0.0 || kind == "a"' } } },
  { name: 'complete', check: { $case: 'completeness', value: { field: 'x', minRate: 0.5 } } },
  { name: 'distinct', check: { $case: 'distinctness', value: { field: 'kind', minRate: 0.5 } } },
  { name: 'volume', check: { $case: 'volume', value: { minRows: 3n } } },
  {
    name: 'bins',
    check: { $case: 'distribution', value: { field: 'x', edges: [-1, 1], counts: [1, 2, 1], max: 0.1 } },
  },
  {
    name: 'kinds',
    check: { $case: 'distribution', value: { field: 'kind', categories: ['a', 'b'], counts: [2, 2, 1], max: 0.1 } },
  },
].map((each) =>
  expectations.Expectation.fromPartial(each as Parameters<typeof expectations.Expectation.fromPartial>[0]),
);

function batch(rows: readonly Row[]): FeatureBatch {
  const nulls = (values: readonly unknown[]) => Uint8Array.from(values, (value) => Number(value === null));
  const [xs, kinds] = [rows.map(({ x }) => x), rows.map(({ kind }) => kind)];
  const columns = new Map<string, Column>([
    ['x', { type: 'f64', values: Float64Array.from(xs, Number), nulls: nulls(xs) }],
    ['kind', { type: 'str', values: kinds.map((kind) => kind ?? ''), nulls: nulls(kinds) }],
  ]);
  return { count: rows.length, columns, eventTimeUs: new Float64Array(rows.length), name: (row) => `row ${row}` };
}

/** What three-valued logic makes false. */
const isFalse = ({ x, kind }: Row) =>
  (x === null ? undefined : x > 0) === false && (kind === null ? undefined : kind === 'a') === false;

test('measures of features are those of brute force, in however many parts the rows come', () => {
  const row = fc.record({
    x: fc.oneof(fc.constant(null), fc.integer({ min: -3, max: 3 })),
    kind: fc.constantFrom(null, 'a', 'b', 'c'),
  });
  const checks = compileFeatureChecks(given, fields);
  fc.assert(
    fc.property(fc.array(row, { maxLength: 40 }), fc.integer({ min: 0, max: 40 }), (rows, cut) => {
      const outcomes = new Map(
        checks.map((check) => {
          const measure = check.measure();
          for (const part of [rows.slice(0, cut), rows.slice(cut)]) measure.add(batch(part));
          return [check.name, measure.outcome(1)];
        }),
      );
      const of = (name: string) => outcomes.get(name);
      const failing = {
        there: ({ x }: Row) => x === null,
        range: ({ x }: Row) => x !== null && Math.abs(x) > 1,
        set: ({ kind }: Row) => kind === 'c',
        regex: ({ kind }: Row) => kind === 'c',
        cel: isFalse,
      };
      for (const [name, fails] of Object.entries(failing)) {
        const failed = rows.filter(fails).length;
        const outcome = rows.length === 0 ? 'NO_DATA' : failed > 0 ? 'FAIL' : 'PASS';
        expect(of(name)).toMatchObject({ outcome, rows: rows.length, severity: 'warn' });
        if (rows.length > 0) expect(of(name)?.observed).toBe(failed);
      }
      if (rows.length === 0) {
        for (const { outcome } of outcomes.values()) expect(outcome).toBe('NO_DATA');
        return;
      }
      const kinds = rows.flatMap(({ kind }) => kind ?? []);
      expect(of('complete')?.observed).toBe(rows.filter(({ x }) => x !== null).length / rows.length);
      expect(of('volume')?.outcome).toBe(rows.length >= 3 ? 'PASS' : 'FAIL');
      if (kinds.length === 0) expect(of('distinct')?.outcome).toBe('NO_DATA');
      else expect(of('distinct')?.observed).toBe(new Set(kinds).size / kinds.length);
      const few = (values: number) => (values === 0 ? 'NO_DATA' : 'INSUFFICIENT_DATA');
      if (kinds.length < 20) expect(of('kinds')?.outcome).toBe(few(kinds.length));
      else expect(of('kinds')?.outcome).toMatch(/PASS|FAIL/);
    }),
    { numRuns: 500 },
  );
});

test('distributions are met by their reference and not by another', () => {
  const like = Array.from(
    { length: 40 },
    (_, i): Row => ({ x: [-2, 0, 0, 2][i % 4] ?? 0, kind: ['a', 'a', 'b', 'b', 'c'][i % 5] ?? 'a' }),
  );
  const unlike = like.map((): Row => ({ x: 3, kind: 'a' }));
  for (const name of ['bins', 'kinds']) {
    const check = compileFeatureChecks(given, fields).find((each) => each.name === name);
    const outcome = (rows: readonly Row[]) => {
      const measure = check?.measure();
      measure?.add(batch(rows));
      return measure?.outcome(1).outcome;
    };
    expect([outcome(like), outcome(unlike)]).toEqual(['PASS', 'FAIL']);
  }
});
