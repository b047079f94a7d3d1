import type { SimpleDefinition } from '../compose.ts';
import type { List } from '../types.ts';
import { vectorBytes } from '../vectors.ts';
import type { Cell, Finish, Merge, Part, Parts, Slots } from './cell.ts';
import { decayFinisher, decayMerger, finishDecayedMean, readDecayed } from './decayed.ts';
import { distinctPart, finishDistinct, mergeDistinct } from './distinct.ts';
import { finishEntropy, frequenciesPart, mergeFrequencies } from './entropy.ts';
import { extremeMerger, valueFinisher } from './extremes.ts';
import { hashOf } from './hash-of.ts';
import { bucketAmong, histogramFinisher, histogramMerger } from './histogram.ts';
import { listFinisher, readEntries } from './list-values.ts';
import { orderedMerger } from './ordered.ts';
import { pairAsDouble, setPair } from './pairs.ts';
import { bucketOfDouble, countsPart, mergeBuckets, percentileFinisher } from './percentile.ts';
import {
  finishCount,
  finishLatest,
  meanFinisher,
  mergeCount,
  mergeLatest,
  mergeMoments,
  rateFinisher,
  sumFinisher,
  sumMerger,
  varianceFinisher,
} from './sums.ts';
import { mergeValues, mostFrequent } from './top-k.ts';
import { finishTrend, mergeTrend, readTrend } from './trend.ts';

/** One event's value of a field and its place in the stream. */
export interface EventValue {
  /** The value's two slots. */
  readonly pair: Slots;
  readonly text: string;
  /** A vector's bytes, never altered. */
  readonly vector: Uint8Array | null;
  readonly timeUs: number;
  readonly seq: number;
  readonly index: number;
}

/** Fills an empty cell with one event. */
export function fillCell(cell: Cell, slots: Slots, at: number, parts: Parts | null, partAt: number, e: EventValue) {
  const a = e.pair[0] as number;
  const b = e.pair[1] as number;
  slots[at] = 1;
  if (cell.part === 'text' && parts) parts[partAt] = e.text;
  if (cell.part === 'vector' && parts) parts[partAt] = e.vector;
  switch (cell.kind) {
    case 'count':
      return;
    case 'sum':
    case 'min':
    case 'max':
      slots[at + 1] = a;
      slots[at + 2] = b;
      return;
    case 'moments':
      slots[at + 1] = pairAsDouble(cell.type, a, b);
      slots[at + 2] = 0;
      return;
    case 'first':
    case 'last':
      slots[at + 1] = e.timeUs;
      slots[at + 2] = e.seq;
      slots[at + 3] = e.index;
      slots[at + 4] = a;
      slots[at + 5] = b;
      return;
    case 'distinct':
    case 'frequencies':
      slots[at + 1] = hashOf(cell.type, a, b, e.text);
      return;
    case 'latest':
      slots[at + 1] = e.timeUs;
      return;
    case 'decayed':
      slots[at + 1] = e.timeUs;
      slots[at + 2] = 1;
      slots[at + 3] = cell.field === '' ? 1 : pairAsDouble(cell.type, a, b);
      return;
    case 'last_n':
    case 'first_n':
    case 'last_distinct_n':
    case 'first_distinct_n':
      if (parts) parts[partAt] = { list: [{ x: e.timeUs, y: e.seq, z: e.index, a, b, text: e.text }] };
      return;
    case 'values':
      if (parts) parts[partAt] = { list: [{ x: hashOf(cell.type, a, b, e.text), y: 1, z: 0, a, b, text: e.text }] };
      return;
    case 'histogram':
      slots[at + 1 + bucketAmong(cell.edges, pairAsDouble(cell.type, a, b))] = 1;
      return;
    case 'trend':
      slots[at + 1] = e.timeUs;
      slots[at + 3] = pairAsDouble(cell.type, a, b);
      return;
    case 'buckets':
      slots[at + 1] = bucketOfDouble(pairAsDouble(cell.type, a, b));
      return;
    default:
      cell.kind satisfies never;
  }
}

export function merger(cell: Cell): Merge {
  switch (cell.kind) {
    case 'count':
      return mergeCount;
    case 'sum':
      return sumMerger(cell);
    case 'moments':
      return mergeMoments;
    case 'distinct':
      return mergeDistinct;
    case 'buckets':
      return mergeBuckets;
    case 'frequencies':
      return mergeFrequencies;
    case 'last_n':
    case 'first_n':
    case 'last_distinct_n':
    case 'first_distinct_n':
      return orderedMerger(cell);
    case 'values':
      return mergeValues;
    case 'histogram':
      return histogramMerger(cell);
    case 'trend':
      return mergeTrend;
    case 'latest':
      return mergeLatest;
    case 'decayed':
      return decayMerger(cell);
    case 'min':
    case 'max':
    case 'first':
    case 'last':
      return extremeMerger(cell);
    default:
      return cell.kind satisfies never;
  }
}

export function finisher(feature: SimpleDefinition, cell: Cell): Finish {
  switch (feature.function) {
    case 'count':
      return finishCount;
    case 'sum':
      return sumFinisher(cell);
    case 'mean':
      return meanFinisher(cell);
    case 'rate':
      return rateFinisher(feature, cell);
    case 'variance':
      return varianceFinisher(feature.ddof);
    case 'stddev': {
      const variance = varianceFinisher(feature.ddof);
      return (...cell) => {
        const value = variance(...cell);
        return value === null ? null : Math.sqrt(Number(value));
      };
    }
    case 'min':
    case 'max':
      return valueFinisher(cell, 1);
    case 'first':
    case 'last':
      return valueFinisher(cell, 4);
    case 'distinct':
      return finishDistinct;
    case 'percentile':
      return percentileFinisher(feature.quantile ?? 0.5);
    case 'entropy':
      return finishEntropy;
    case 'last_n':
    case 'first_n':
    case 'last_distinct_n':
    case 'first_distinct_n':
      return listFinisher(cell.type, (entries) => entries);
    case 'top_k':
      return listFinisher(cell.type, mostFrequent(feature.n ?? 1));
    case 'histogram':
      return histogramFinisher(cell);
    case 'trend':
      return finishTrend;
    case 'age':
      return finishLatest;
    case 'decayed_sum':
      return decayFinisher(cell, 'sum');
    case 'decayed_count':
      return decayFinisher(cell, 'count');
    case 'decayed_mean':
      return finishDecayedMean;
    default:
      return feature.function satisfies never;
  }
}

/** What SQL said of a cell that is not empty (columns: cell-sql.ts). */
export interface CellRecord {
  readonly n: number;
  readonly x: unknown;
  readonly y: unknown;
  readonly z: unknown;
  readonly value: unknown;
}

/** A cell from what SQL said of it: its slots, and its part. */
export function readCell(cell: Cell, { n, x, y, z, value }: CellRecord, slots: Slots): Part {
  slots[0] = n;
  switch (cell.kind) {
    case 'count':
      break;
    case 'moments':
      slots[1] = Number(x);
      slots[2] = Number(y) * n;
      break;
    case 'sum':
      setPair(cell.type === 'DOUBLE' ? 'DOUBLE' : 'INT64', value, slots, 1);
      break;
    case 'min':
    case 'max':
      if (cell.part === 'none') setPair(cell.type, value, slots, 1);
      break;
    case 'first':
    case 'last':
      slots[1] = Number(x);
      slots[2] = Number(y);
      slots[3] = Number(z);
      if (cell.part === 'none') setPair(cell.type, value, slots, 4);
      break;
    case 'last_n':
    case 'first_n':
    case 'last_distinct_n':
    case 'first_distinct_n':
    case 'values':
      return readEntries(cell.type, String(value));
    case 'histogram':
      for (const [i, count] of (JSON.parse(String(value)) as unknown[]).entries()) slots[i + 1] = Number(count);
      break;
    case 'trend':
      return readTrend(String(value), slots);
    case 'latest':
      slots[1] = Number(x);
      break;
    case 'decayed':
      return readDecayed(cell, Number(x), String(value), slots);
    case 'distinct':
      return distinctPart(String(value));
    case 'buckets':
      return countsPart(String(value));
    case 'frequencies':
      return frequenciesPart(String(value));
    default:
      cell.kind satisfies never;
  }
  if (cell.part === 'vector') return vectorBytes(JSON.parse(String(value)) as List);
  return cell.part === 'text' ? String(value ?? '') : null;
}
