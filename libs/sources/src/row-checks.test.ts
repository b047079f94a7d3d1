import { definitions } from '@millrace/contracts';
import type { Column, SourceField } from '@millrace/features';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { expectationProblems, treatmentProblems } from './expectation-problems.ts';
import { compileRowChecks } from './row-checks.ts';

const { BOOL, DOUBLE, INT64, STRING } = definitions.FieldType;
const fields: readonly SourceField[] = [
  { name: 'amount', type: 'DOUBLE', nullable: true },
  { name: 'units', type: 'INT64', nullable: true },
  { name: 'code', type: 'STRING', nullable: true },
  { name: 'ok', type: 'BOOL', nullable: true },
];
const source = (over: Parameters<typeof definitions.Source.fromPartial>[0]) =>
  definitions.Source.fromPartial({
    fields: [
      { name: 'amount', type: DOUBLE, nullable: true },
      { name: 'units', type: INT64, nullable: true },
      { name: 'code', type: STRING, nullable: true },
      { name: 'ok', type: BOOL, nullable: true },
    ],
    ...over,
  });

type Row = { amount: number | null; units: bigint | null; code: string | null; ok: boolean | null };

function columnsOf(rows: readonly Row[]): ReadonlyMap<string, Column> {
  const nulls = (name: keyof Row) => Uint8Array.from(rows, (row) => (row[name] === null ? 1 : 0));
  return new Map<string, Column>([
    ['amount', { type: 'f64', values: Float64Array.from(rows, (row) => row.amount ?? 0), nulls: nulls('amount') }],
    ['units', { type: 'i64', values: BigInt64Array.from(rows, (row) => row.units ?? 0n), nulls: nulls('units') }],
    ['code', { type: 'str', values: rows.map((row) => row.code ?? ''), nulls: nulls('code') }],
    ['ok', { type: 'bool', values: Uint8Array.from(rows, (row) => (row.ok ? 1 : 0)), nulls: nulls('ok') }],
  ]);
}

const checks = [
  { name: 'there', check: { $case: 'notNull', value: { field: 'code' } } },
  { name: 'range', check: { $case: 'inRange', value: { field: 'amount', min: -1, max: 2.5 } } },
  { name: 'units-range', check: { $case: 'inRange', value: { field: 'units', min: 0 } } },
  { name: 'set', check: { $case: 'inSet', value: { field: 'code', values: ['a', 'bb'] } } },
  { name: 'units-set', check: { $case: 'inSet', value: { field: 'units', values: ['1', '-2'] } } },
  { name: 'ok-set', check: { $case: 'inSet', value: { field: 'ok', values: ['true'] } } },
  { name: 'code', check: { $case: 'matches', value: { field: 'code', pattern: '^[a-b]+$' } } },
  { name: 'cel', check: { $case: 'condition', value: { cel: 'amount > 0.0 || ok' } } },
] as const;

/** What fails, told the plain way: null is at fault for `there` alone. */
function bruteForce({ amount, units, code, ok }: Row): string[] {
  const either =
    amount !== null && amount > 0 ? true : ok === true ? true : amount === null || ok === null ? null : false;
  const failed: Readonly<Record<string, boolean>> = {
    there: code === null,
    range: amount !== null && (amount < -1 || amount > 2.5),
    'units-range': units !== null && units < 0n,
    set: code !== null && !['a', 'bb'].includes(code),
    'units-set': units !== null && units !== 1n && units !== -2n,
    'ok-set': ok === false,
    code: code !== null && !/^[a-b]+$/.test(code),
    cel: either === false,
  };
  return Object.keys(failed).filter((name) => failed[name]);
}

test('the checks of rows agree with a brute force over values and nulls', () => {
  const { checks: compiled } = compileRowChecks(source({ expectations: structuredClone(checks) as never }), fields);
  const row = fc.record({
    amount: fc.option(fc.constantFrom(-2, -1, 0, 0.5, 2.5, 2.6, 1e300)),
    units: fc.option(fc.constantFrom(-(2n ** 63n), -2n, 0n, 1n, 2n ** 63n - 1n)),
    code: fc.option(fc.constantFrom('a', 'bb', 'ab', '', 'c', 'a\n', 'ä')),
    ok: fc.option(fc.boolean()),
  });
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 30 }), (rows) => {
      const bound = compiled.map(({ name, bind }) => ({ name, find: bind(columnsOf(rows)) }));
      for (const [at, each] of rows.entries()) {
        const failed = bound.filter(({ find }) => find(at) !== null).map(({ name }) => name);
        expect(failed).toEqual(bruteForce(each));
      }
    }),
    { numRuns: 2_000 },
  );
});

test('a pattern that hangs a backtracking engine is answered at once', () => {
  const evil = { name: 'evil', check: { $case: 'matches', value: { field: 'code', pattern: '^(a+)+$' } } } as const;
  const { checks: compiled } = compileRowChecks(source({ expectations: [evil] as never }), fields);
  const rows = [{ amount: null, units: null, code: `${'a'.repeat(50_000)}!`, ok: null }];
  const startedMs = performance.now();
  expect(compiled[0]?.bind(columnsOf(rows))(0)).not.toBeNull();
  expect(performance.now() - startedMs).toBeLessThan(2_000);
});

const wrong: readonly [name: string, expectation: Record<string, unknown>, says: RegExp][] = [
  ['without a check', {}, /has no check/],
  ['of a field that is not there', { check: { $case: 'notNull', value: { field: 'gate' } } }, /no field "gate"/],
  ['of a range of text', { check: { $case: 'inRange', value: { field: 'code', min: 1 } } }, /code" is STRING/],
  ['of a range without bounds', { check: { $case: 'inRange', value: { field: 'amount' } } }, /has no bound/],
  ['of a range upside down', { check: { $case: 'inRange', value: { field: 'amount', min: 2, max: 1 } } }, /above max/],
  ['of an empty set', { check: { $case: 'inSet', value: { field: 'code', values: [] } } }, /0 values/],
  [
    'with a back-reference',
    { check: { $case: 'matches', value: { field: 'code', pattern: '(a)\\1' } } },
    /not RE2 syntax/,
  ],
  ['unique without a window', { check: { $case: 'unique', value: { fields: ['code'], windowUs: 0n } } }, /window/],
  ['with a broken condition', { check: { $case: 'condition', value: { cel: 'gate > 1' } } }, /there is no "gate"/],
  [
    'that cannot be undone',
    { severity: 2, check: { $case: 'volume', value: { minRows: 1n } } },
    /set severity to warn \(the default\) or block/,
  ],
  [
    'resumes what never stops',
    { resumeAfterUs: 60_000_000n, check: { $case: 'volume', value: { minRows: 1n } } },
    /leave resume_after out/,
  ],
  [
    'resumes at once',
    { severity: 3, resumeAfterUs: 1n, check: { $case: 'volume', value: { minRows: 1n } } },
    /not between 1 s and 31 d/,
  ],
];

test.each(wrong)('an expectation %s is refused with its path and a remedy', (_name, expectation, says) => {
  const problems = expectationProblems(
    definitions.Source.fromPartial({ expectations: [{ name: 'bad', ...expectation } as never] }),
    fields,
  );
  expect(problems.map(({ path }) => path)).toContain('expectations.bad');
  expect(problems.map(({ problem }) => problem).join('\n')).toMatch(says);
});

test('defaults, missing-value policies and outlier bounds that cannot work are refused', () => {
  const value = (kind: definitions.Value['kind']) => ({ defaultValue: { kind } });
  const bad = source({
    keyField: 'code',
    eventTimeField: '',
    fields: [
      { name: 'a', type: INT64, ...value({ $case: 'stringValue', value: 'x' }) },
      { name: 'b', type: DOUBLE, min: 5, ...value({ $case: 'doubleValue', value: 1 }) },
      { name: 'c', type: STRING, missing: 4 },
      { name: 'code', type: STRING, missing: 3 },
      { name: 'e', type: STRING, missing: 2 },
      { name: 'f', type: DOUBLE, outliers: { action: 2, min: 1, zScore: 3 } },
      { name: 'g', type: DOUBLE, outliers: { action: 0, iqr: 1.5 } },
    ],
  });
  const typed = bad.fields.map(({ name, type }) => ({
    name,
    type: type === INT64 ? ('INT64' as const) : type === DOUBLE ? ('DOUBLE' as const) : ('STRING' as const),
    nullable: false,
  }));
  expect(treatmentProblems(bad, typed).map(({ path }) => path)).toEqual(
    ['a', 'b', 'c', 'code', 'e', 'f', 'g'].map((name) => `fields.${name}`),
  );
});
