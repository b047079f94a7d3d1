import { serving } from '@millrace/contracts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mergeReads, readGroupOf, splitRead } from './merged-reads.ts';

/** A store that answers each row from its key, its read time and its request data alone. */
function answer(request: serving.GetFeaturesRequest): serving.GetFeaturesResponse {
  const key = request.keys[0];
  const rows = (key?.int64s ?? []).map((value, row) => ({
    value: Number(value),
    isNull: (key?.nulls[row] ?? 0) === 1,
    asOf: Number(request.asOfUsByRow[row]),
    given: request.requestData[0]?.doubles[row] ?? Number.NaN,
  }));
  return serving.GetFeaturesResponse.fromPartial({
    doubles: rows.flatMap(({ value, asOf, given }) => [value * 2, asOf + given]),
    int64s: rows.map(({ value }) => BigInt(value)),
    statuses: Buffer.from(rows.flatMap(({ isNull, value }) => [isNull ? 2 : 1, value % 3, value % 5])),
    features: [
      { name: 'a', block: 1, column: 0, view: 0 },
      { name: 'b', block: 1, column: 1, view: 0 },
      { name: 'c', block: 2, column: 0, view: 0 },
    ],
    views: [
      {
        view: 'v',
        eventTimesUs: rows.map(({ asOf }) => BigInt(asOf)),
        positions: rows.map(({ value }) => BigInt(value)),
        knownTimesUs: rows.map(() => 7n),
      },
    ],
    version: 'x',
  } as never);
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
