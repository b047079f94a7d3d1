import type { AggregationFunction, FeatureDefinition, FieldType, Scalar, SourceField } from '../types.ts';

/**
 * A cell is a mergeable, order-free partial aggregate in slots of doubles and, where it holds texts or many values, a *part* beside them.
 * Nothing is ever subtracted. Numeric values take two slots: an integer is high · 2³² + low, exact over all 64 bits; a float is (value, 0).
 *
 * | kind        | slots                          | part                                                   |
 * | ----------- | ------------------------------ | ------------------------------------------------------ |
 * | count       | n                              |                                                        |
 * | sum         | n, high, low or n, sum, compensation |                                                  |
 * | moments     | n, mean, m2                    |                                                        |
 * | min, max    | n, a, b                        | the text                                               |
 * | first, last | n, time, seq, index, a, b      | the text                                               |
 * | distinct    | n, hash                        | hashes ascending, or registers (distinct.ts)           |
 * | buckets     | n, bucket                      | bucket, count, … by bucket (percentile.ts)             |
 * | frequencies | n, hash                        | hash, count, … by hash, or counts by slice (entropy.ts) |
 * | latest      | n, time                        |                                                        |
 * | decayed     | n, time, weight, sum           | (decayed.ts)                                           |
 *
 * Those with a collection hold a single value in their slots alone, so that an event needs no part.
 */
export type CellKind =
  | 'count'
  | 'sum'
  | 'moments'
  | 'min'
  | 'max'
  | 'first'
  | 'last'
  | 'distinct'
  | 'buckets'
  | 'frequencies'
  | 'latest'
  | 'decayed';

export interface Cell {
  readonly kind: CellKind;
  readonly field: string;
  readonly type: FieldType;
  readonly filter: string;
  /** Of decayed: after so long a weight is half. */
  readonly halfLifeUs: number;
  readonly width: number;
  readonly part: 'none' | 'text' | 'collection';
}

const widths: Readonly<Record<CellKind, number>> = {
  count: 1,
  sum: 3,
  moments: 3,
  min: 3,
  max: 3,
  first: 6,
  last: 6,
  distinct: 2,
  buckets: 2,
  frequencies: 2,
  latest: 2,
  decayed: 4,
};

const kinds: Readonly<Record<Exclude<AggregationFunction, 'rate'>, CellKind>> = {
  count: 'count',
  sum: 'sum',
  mean: 'sum',
  min: 'min',
  max: 'max',
  variance: 'moments',
  stddev: 'moments',
  first: 'first',
  last: 'last',
  distinct: 'distinct',
  percentile: 'buckets',
  entropy: 'frequencies',
  age: 'latest',
  decayed_sum: 'decayed',
  decayed_count: 'decayed',
  decayed_mean: 'decayed',
};

export function cellOf(feature: FeatureDefinition, fields: ReadonlyMap<string, SourceField>): Cell {
  const { function: fn, field, filter } = feature;
  const kind = fn === 'rate' ? (field === '' ? 'count' : 'sum') : kinds[fn];
  const type = fields.get(field)?.type ?? 'INT64';
  const halfLifeUs = kind === 'decayed' ? (feature.halfLifeUs ?? 0) : 0;
  return { kind, field, type, filter, halfLifeUs, width: widths[kind], part: partOf(kind, type) };
}

function partOf(kind: CellKind, type: FieldType): Cell['part'] {
  switch (kind) {
    case 'distinct':
    case 'buckets':
    case 'frequencies':
      return 'collection';
    case 'count':
    case 'latest':
    case 'decayed':
      return 'none';
    default:
      return type === 'STRING' ? 'text' : 'none';
  }
}

/** Features whose cells have the same key share one. */
export function cellKey({ kind, field, filter, halfLifeUs }: Cell): string {
  return `${kind}\n${field}\n${filter}\n${halfLifeUs}`;
}

/** Plain arrays of doubles: states hold a great many small ones, and to the collector each is one block with nothing to follow. */
export type Slots = number[];

/** A text, numbers in an order that the kind says, or registers. What a cell holds is its own: to merge into an empty cell copies. */
export type Part = string | number[] | Uint8Array | null;
export type Parts = Part[];

const zeros: Slots[] = [];

/** Slots of a width, all 0. */
export function newSlots(width: number): Slots {
  // what has held a fraction keeps its elements as doubles, and so do its copies
  zeros[width] ??= Array.from({ length: width }, () => 0.5).fill(0);
  return zeros[width].slice();
}

/** Empty parts; null where a layout has none. */
export function newParts(count: number): Parts | null {
  return count > 0 ? new Array<Part>(count).fill(null) : null;
}

/** Adds what is in `from` to what is in `to`, and leaves `from` as it is. */
export type Merge = (
  to: Slots,
  at: number,
  from: Slots,
  fromAt: number,
  toParts: Parts | null,
  partAt: number,
  fromParts: Parts | null,
  fromPartAt: number,
) => void;

/** What a row keeps from a step on: the feature's value as of the step's start, or what a reader makes it of (at-read.ts). */
export type Finish = (slots: Slots, at: number, parts: Parts | null, partAt: number, stepUs: number) => Scalar;

/** A feature's value where no event counts. */
export function valueOfNothing(fn: AggregationFunction): 0 | null {
  return fn === 'count' || fn === 'rate' || fn === 'distinct' || fn === 'decayed_count' ? 0 : null;
}
