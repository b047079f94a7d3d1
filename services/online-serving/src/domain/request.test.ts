import { expect, test } from 'vitest';
import type { Plan } from './plan.ts';
import { asOfColumn, bindKeys, type ReadRequest, type RequestKey } from './request.ts';

const plan = {
  name: 'delays',
  keys: [
    { name: 'origin', type: 'STRING' },
    { name: 'airline_id', type: 'INT64' },
  ],
} as unknown as Plan;

const origin: RequestKey = { name: 'origin', kind: 'STRING', values: ['ORD', 'ATL'], nullRow: -1 };
const airline: RequestKey = { name: 'airline_id', kind: 'INT64', values: [1, 2], nullRow: -1 };

const request = (changes: Partial<ReadRequest> = {}): ReadRequest => ({
  featureService: 'delays',
  version: '',
  keys: [airline, origin],
  asOfUs: 0,
  asOfUsByRow: new Float64Array(0),
  allowPartial: false,
  allowHistory: false,
  omitMetadata: false,
  ...changes,
});

test('columns come in the order of the plan, whatever the order of the request', () => {
  expect(bindKeys(plan, request(), 10)).toEqual({ rows: 2, columns: [origin, airline] });
});

test('every fault of the keys has its reason and names the value', () => {
  const cases: [Partial<ReadRequest>, number, string, string][] = [
    [{ keys: [origin] }, 10, 'MISSING_JOIN_KEY', '"airline_id"'],
    [{ keys: [origin, airline, { ...origin, name: 'tail' }] }, 10, 'UNKNOWN_JOIN_KEY', '"tail"'],
    [{ keys: [origin, { ...airline, kind: 'STRING' }] }, 10, 'WRONG_TYPE', 'STRING'],
    [{ keys: [{ ...origin, nullRow: 1 }, airline] }, 10, 'NULL_JOIN_KEY', 'row 1'],
    [{ keys: [origin, { ...airline, values: [1] }] }, 10, 'INVALID_ARGUMENT', '1 values'],
    [
      { keys: [origin, airline].map((key) => ({ ...key, kind: 'EMPTY', values: [] })) },
      10,
      'INVALID_ARGUMENT',
      '0 rows',
    ],
    [{}, 1, 'TOO_MANY_ROWS', 'limit is 1'],
    [{ asOfUsByRow: Float64Array.of(1) }, 10, 'INVALID_ARGUMENT', 'as_of_us_by_row'],
  ];
  for (const [changes, rowsMax, reason, named] of cases) {
    expect(() => bindKeys(plan, request(changes), rowsMax), `${reason} ${named}`).toThrow(
      expect.objectContaining({ reason, message: expect.stringContaining(named) }),
    );
  }
});

test('the read time is that of the row, else of the request, else of the clock', () => {
  expect([...asOfColumn(request(), 2, 7)]).toEqual([7, 7]);
  expect([...asOfColumn(request({ asOfUs: 5 }), 2, 7)]).toEqual([5, 5]);
  expect([...asOfColumn(request({ asOfUs: 5, asOfUsByRow: Float64Array.of(1, 2) }), 2, 7)]).toEqual([1, 2]);
  for (const bad of [-1, Number.NaN, 2 ** 60]) {
    expect(() => asOfColumn(request({ asOfUs: bad || Number.POSITIVE_INFINITY }), 1, 7)).toThrow(
      expect.objectContaining({ reason: 'INVALID_ARGUMENT' }),
    );
  }
});
