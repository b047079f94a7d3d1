import type { ComposedFunction, SimpleDefinition } from '../compose.ts';
import type {
  AggregationFunction,
  FeatureDefinition,
  FeatureValue,
  FieldType,
  List,
  SchemaType,
  SourceField,
} from '../types.ts';
import { isVectorType } from '../vectors.ts';

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
 * | first, last | n, time, seq, index, a, b      | the text, or the bytes of the vector                   |
 * | distinct    | n, hash                        | hashes ascending, or registers (distinct.ts)           |
 * | buckets     | n, bucket                      | bucket, count, … by bucket (percentile.ts)             |
 * | frequencies | n, hash                        | hash, count, … by hash, or counts by slice (entropy.ts) |
 * | latest      | n, time                        |                                                        |
 * | decayed     | n, time, weight, sum           | (decayed.ts)                                           |
 * | first_n, last_n, … | n                       | entries by place (ordered.ts)                          |
 * | values      | n                              | entries by hash (top-k.ts)                             |
 * | trend       | n, time, time, value, squares, products | (trend.ts)                                  |
 * | histogram   | n, count of each bucket        |                                                        |
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
  | 'decayed'
  | 'last_n'
  | 'first_n'
  | 'last_distinct_n'
  | 'first_distinct_n'
  | 'values'
  | 'histogram'
  | 'trend';

export interface Cell {
  readonly kind: CellKind;
  readonly field: string;
  /** Of a vector that of its numbers. */
  readonly type: FieldType;
  readonly filter: string;
  /** Of decayed: after so long a weight is half. */
  readonly halfLifeUs: number;
  /** Of lists by place: how many entries at most. */
  readonly n: number;
  /** Of a histogram. */
  readonly edges: readonly number[];
  readonly width: number;
  readonly part: 'none' | 'text' | 'vector' | 'collection';
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
  last_n: 1,
  first_n: 1,
  last_distinct_n: 1,
  first_distinct_n: 1,
  values: 1,
  histogram: 1,
  trend: 6,
};

const kinds: Readonly<Record<Exclude<AggregationFunction, 'rate' | ComposedFunction>, CellKind>> = {
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
  last_n: 'last_n',
  first_n: 'first_n',
  last_distinct_n: 'last_distinct_n',
  first_distinct_n: 'first_distinct_n',
  top_k: 'values',
  histogram: 'histogram',
  trend: 'trend',
};

const orderedKinds: ReadonlySet<CellKind> = new Set(['last_n', 'first_n', 'last_distinct_n', 'first_distinct_n']);

export function cellOf(feature: SimpleDefinition, fields: ReadonlyMap<string, SourceField>): Cell {
  const { function: fn, field, filter } = feature;
  const kind = fn === 'rate' ? (field === '' ? 'count' : 'sum') : kinds[fn];
  const type = fields.get(field)?.type ?? 'INT64';
  const halfLifeUs = kind === 'decayed' ? (feature.halfLifeUs ?? 0) : 0;
  const n = orderedKinds.has(kind) ? (feature.n ?? 1) : 0;
  const edges = kind === 'histogram' ? (feature.edges ?? []) : [];
  const width = kind === 'histogram' ? edges.length + 2 : widths[kind];
  const part = partOf(kind, type);
  return { kind, field, type: isVectorType(type) ? 'DOUBLE' : type, filter, halfLifeUs, n, edges, width, part };
}

function partOf(kind: CellKind, type: SchemaType): Cell['part'] {
  switch (kind) {
    case 'distinct':
    case 'buckets':
    case 'frequencies':
    case 'last_n':
    case 'first_n':
    case 'last_distinct_n':
    case 'first_distinct_n':
    case 'values':
      return 'collection';
    case 'count':
    case 'latest':
    case 'decayed':
    case 'histogram':
    case 'trend':
      return 'none';
    default:
      if (isVectorType(type)) return kind === 'first' || kind === 'last' ? 'vector' : 'none';
      return type === 'STRING' ? 'text' : 'none';
  }
}

/** Features whose cells have the same key share one. */
export function cellKey({ kind, field, filter, halfLifeUs, n, edges }: Cell): string {
  return `${kind}\n${field}\n${filter}\n${halfLifeUs}\n${n}\n${edges.join()}`;
}

/** Plain arrays of doubles: states hold a great many small ones, and to the collector each is one block with nothing to follow. */
export type Slots = number[];

/** A value, as its two slots and its text, with what orders it. */
export interface Entry {
  readonly x: number;
  readonly y: number;
  readonly z: number;
  readonly a: number;
  readonly b: number;
  readonly text: string;
}

/** Never altered: cells may share them. */
export interface Entries {
  readonly list: readonly Entry[];
}

/**
 * A text, numbers in an order that the kind says, registers or the bytes of a vector, or entries. But for these, what a cell holds is its own: to merge into an empty
 * cell copies.
 */
export type Part = string | number[] | Uint8Array | Entries | null;
export type Parts = Part[];

/** What a window's accumulator holds in place of a part where parts are dear to merge: it is emptied and filled over and over. */
export interface Running {
  clear(): void;
}
export type WindowPart = Part | Running;

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
  toParts: WindowPart[] | null,
  partAt: number,
  fromParts: Parts | null,
  fromPartAt: number,
) => void;

/** What a row keeps from a step on: the feature's value as of the step's start, or what a reader makes it of (at-read.ts). */
export type Finish = (
  slots: Slots,
  at: number,
  parts: WindowPart[] | null,
  partAt: number,
  stepUs: number,
) => FeatureValue;

const zeroOfNothing: ReadonlySet<AggregationFunction> = new Set(['count', 'rate', 'distinct', 'decayed_count']);

/** A feature's value where no event counts. */
export function valueOfNothing({ function: fn, edges = [], of }: FeatureDefinition): 0 | null | List {
  if (fn === 'histogram') return Array.from({ length: edges.length + 1 }, () => 0);
  if (fn === 'top_k' || orderedKinds.has(fn as CellKind)) return [];
  return zeroOfNothing.has(fn) || (fn === 'change' && zeroOfNothing.has(of ?? 'count')) ? 0 : null;
}
