import { type compute, serving } from '@millrace/contracts';
import { listValues } from '@millrace/sdk';
import { expect } from 'vitest';

export function int(value: bigint): compute.SampleValue {
  return { kind: { $case: 'int64Value', value } };
}

function sampleOf(value: number | bigint | string | boolean): compute.SampleValue {
  if (typeof value === 'number') return { kind: { $case: 'doubleValue', value } };
  if (typeof value === 'string') return { kind: { $case: 'stringValue', value } };
  return typeof value === 'bigint' ? int(value) : { kind: { $case: 'boolValue', value } };
}

/** A row of an answer as VerifySamples takes it; every value has to be there or null. */
export function served(response: serving.GetFeaturesResponse, row: number): compute.SampleValue[] {
  const width = [0, 0, 0, 0, 0];
  for (const { block } of response.features) width[block] = (width[block] ?? 0) + 1;
  return response.features.map((feature, index) => {
    const status = response.statuses[row * response.features.length + index];
    if (status === serving.ValueStatus.NULL) return { kind: undefined };
    expect(status, `${feature.name} of row ${row}`).toBe(serving.ValueStatus.PRESENT);
    const at = row * (width[feature.block] ?? 0) + feature.column;
    if (feature.block === 1) return { kind: { $case: 'doubleValue', value: response.doubles[at] ?? Number.NaN } };
    if (feature.block === 3)
      return { kind: { $case: 'stringValue', value: response.strings[feature.column]?.values[row] ?? '' } };
    if (feature.block === 4) {
      const list = listValues(response.lists[feature.column], feature.type, row);
      return { kind: { $case: 'listValue', value: { values: list.map((value) => sampleOf(value)) } } };
    }
    return int(response.int64s[at] ?? 0n);
  });
}

/** Numbers in [0, 1), the same for the same seed. */
export function mulberry(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
