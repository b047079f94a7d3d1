import { serving } from '@millrace/contracts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { FeaturesRead } from './features-read.ts';
import { mergeReads, readGroupOf, splitRead } from './merged-reads.ts';

/** A store that answers each row from its key, its read time and its request data alone. */
function answer(request: serving.GetFeaturesRequest): FeaturesRead {
  const key = request.keys[0];
  const rows = (key?.int64s ?? []).map((value, row) => ({
    value: Number(value),
    isNull: (key?.nulls[row] ?? 0) === 1,
    asOf: Number(request.asOfUsByRow[row]),
    given: request.requestData[0]?.doubles[row] ?? Number.NaN,
  }));
  const numbers = (values: readonly number[]) => Float64Array.from(values);
  const column = (name: string, block: number, at: number) => ({ name, type: '', block, column: at, view: 0 });
  return {
    doubles: numbers(rows.flatMap(({ value, asOf, given }) => [value * 2, asOf + given])),
    int64s: numbers(rows.map(({ value }) => value)),
    statuses: Buffer.from(rows.flatMap(({ isNull, value }) => [isNull ? 2 : 1, value % 3, value % 5])),
    features: [column('a', 1, 0), column('b', 1, 1), column('c', 2, 0)],
    views: [
      {
        view: 'v',
        version: '1',
        eventTimesUs: numbers(rows.map(({ asOf }) => asOf)),
        positions: numbers(rows.map(({ value }) => value)),
        knownTimesUs: numbers(rows.map(() => 7)),
      },
    ],
    version: 'x',
  };
}

const rowsOf = (given: readonly { key: number; isNull: boolean; asOf: number; wind: number }[]) =>
  serving.GetFeaturesRequest.fromPartial({
    featureService: 's',
    keys: [
      {
        name: 'k',
        int64s: given.map(({ key }) => BigInt(key)),
        nulls: Buffer.from(given.some(({ isNull }) => isNull) ? given.map(({ isNull }) => Number(isNull)) : []),
      },
    ],
    asOfUsByRow: given.map(({ asOf }) => BigInt(asOf)),
    requestData: [{ name: 'wind', doubles: given.map(({ wind }) => wind) }],
  } as never);

const row = fc.record({ key: fc.nat(1000), isNull: fc.boolean(), asOf: fc.nat(1000), wind: fc.nat(1000) });

test('one read for all gives each caller what a read of its own would have given', () => {
  fc.assert(
    fc.property(fc.array(fc.array(row, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 8 }), (callers) => {
      const requests = callers.map(rowsOf);
      const rows = callers.map(({ length }) => length);
      expect(new Set(requests.map(readGroupOf)).size).toBe(1);
      const parts = splitRead(answer(mergeReads(requests, rows)), rows);
      expect(parts).toEqual(requests.map(answer));
    }),
  );
});

test.each([
  ['another feature service', { featureService: 't' }],
  ['with history', { allowHistory: true }],
  ['keys of another type', { keys: [{ name: 'k', strings: ['a'], int64s: [], bools: [] }] }],
  ['another key', { keys: [{ name: 'other', strings: [], int64s: [1n], bools: [] }] }],
  ['without request data', { requestData: [] }],
])('%s is a read of its own', (_, more) => {
  const one = rowsOf([{ key: 1, isNull: false, asOf: 0, wind: 0 }]);
  expect(readGroupOf({ ...one, ...(more as object) } as never)).not.toBe(readGroupOf(one));
});
