import { feastServing, type feastTypes } from '@millrace/contracts';
import { expect } from 'vitest';

/** Vectors by name are the same, and our bytes are those that protobuf's own encoder would have written. */
export function compareVectors(ours: Buffer, theirs: Buffer): void {
  const { GetOnlineFeaturesResponse } = feastServing;
  const vectors = (bytes: Buffer) => {
    const { metadata, results } = GetOnlineFeaturesResponse.decode(bytes);
    return Object.fromEntries((metadata?.featureNames?.val ?? []).map((name, i) => [name, results[i]]));
  };
  const plain = (bytes: Buffer) =>
    Object.fromEntries(
      Object.entries(vectors(bytes)).map(([name, vector]) => [
        name,
        {
          values: vector?.values.map((value) => withoutWidth(value)),
          statuses: vector?.statuses,
          seconds: vector?.eventTimestamps.map(({ seconds }) => seconds),
        },
      ]),
    );
  expect(Object.keys(plain(theirs)).length).toBeGreaterThan(2);
  expect(plain(ours)).toEqual(plain(theirs));
  const encoded = Buffer.from(GetOnlineFeaturesResponse.encode(GetOnlineFeaturesResponse.decode(ours)).finish());
  expect(encoded.toString('hex')).toBe(ours.toString('hex'));
}

function withoutWidth({ val }: feastTypes.Value): unknown {
  return val === undefined ? null : [val.$case, val.value];
}
