import { events } from '@millrace/contracts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { PredictionRecords } from '../app/predict.ts';
import { encodePredictions, type PredictionRows } from './prediction-message.ts';

const names = ['a', 'ß', 'feature_view__c'];
const width = names.length;
const row = fc.record({
  id: fc.string(),
  key: fc.string({ unit: 'binary' }),
  score: fc.double(),
  asOf: fc.maxSafeNat(),
  values: fc.array(fc.double(), { minLength: width, maxLength: width }),
  statuses: fc.array(fc.nat(5), { minLength: width, maxLength: width }),
  ages: fc.array(fc.integer({ min: -1, max: Number.MAX_SAFE_INTEGER }), { minLength: width, maxLength: width }),
  entity: fc.string(),
});
type Row = typeof row extends fc.Arbitrary<infer T> ? T : never;

function recordsOf(rows: readonly Row[], predictedUs: number): PredictionRecords {
  return {
    ...{ deployment: 'd', model: 'm', modelVersion: '1', featureService: 'f', featureServiceVersion: '2' },
    predictedUs,
    ids: rows.map(({ id }) => id),
    keys: rows.map(({ key }) => key),
    scores: rows.map(({ score }) => score),
    asOfUs: rows.map(({ asOf }) => asOf),
    vectors: {
      ...{ rows: rows.length, names },
      values: Float64Array.from(rows.flatMap(({ values }) => values)),
      statuses: Uint8Array.from(rows.flatMap(({ statuses }) => statuses)),
      agesUs: Float64Array.from(rows.flatMap(({ ages }) => ages)),
    },
    entity: [{ name: 'user', values: rows.map(({ entity }) => entity) }],
  };
}

const call = fc.record({ rows: fc.array(row, { minLength: 1, maxLength: 6 }), us: fc.maxSafeNat(), from: fc.nat(3) });

test('the message of several calls is what the generated code would write', () => {
  fc.assert(
    fc.property(fc.array(call, { minLength: 1, maxLength: 4 }), (calls) => {
      const parts = calls.map(({ rows, us, from }): PredictionRows => {
        return { records: recordsOf(rows, us), from: Math.min(from, rows.length - 1), to: rows.length };
      });
      const rows = calls.flatMap(({ rows: own, from }) => own.slice(Math.min(from, own.length - 1)));
      const times = calls.flatMap(({ rows: own, us, from }) => own.slice(Math.min(from, own.length - 1)).map(() => us));
      const isOneTime = new Set(times).size === 1;
      const expected = events.PredictionBatch.encode({
        ...{ deployment: 'd', model: 'm', modelVersion: '1', featureService: 'f', featureServiceVersion: '2' },
        predictedUs: BigInt(Math.min(...times)),
        predictionIds: rows.map(({ id }) => id),
        predictionKeys: rows.map(({ key }) => key),
        scores: rows.map(({ score }) => score),
        asOfUs: rows.map(({ asOf }) => BigInt(asOf)),
        vectorNames: names,
        vectors: rows.flatMap(({ values }) => values),
        statuses: Buffer.from(rows.flatMap(({ statuses }) => statuses)),
        agesUs: rows.flatMap(({ ages }) => ages.map(BigInt)),
        entity: [{ name: 'user', values: rows.map(({ entity }) => entity) }],
        predictedUsByRow: isOneTime ? [] : times.map(BigInt),
      }).finish();
      expect(events.PredictionBatch.decode(encodePredictions(parts))).toEqual(events.PredictionBatch.decode(expected));
    }),
  );
});
