import { MeshError } from '@millrace/kernel';
import { outlierOf, outlierScales } from './outlier.ts';
import { binOf, type ColumnProfile, type ModelProfile, profileFormat } from './profile.ts';

/** A column with more values has deciles. */
const discreteMax = 20;
/** Values that are kept, of all columns together: 128 MiB. */
const valuesMax = 2 ** 24;
const rowsKeptMax = 100_000;
const outlierShare = 0.001;

interface Running {
  readonly name: string;
  count: number;
  missing: number;
  mean: number;
  squares: number;
  min: number;
  max: number;
}

/** Makes a profile of rows that come one by one, in bounded memory. */
export interface Profiler {
  /** A value of each column, NaN where there is none, and the score; NaN: none. */
  add(row: ArrayLike<number>, score: number): void;
  readonly rows: number;
  /** INVALID_ARGUMENT without a row. */
  profile(model: string, created: string): ModelProfile;
}

/**
 * Counts, means and deviations are of all rows (Welford). Percentiles and bins are of at most 100,000 rows (fewer with more than 167 columns): of more
 * rows a uniform sample (Vitter's algorithm R), whose every quantile is within 0.5 % of the true rank with a chance of 99 % (Massart's bound of the DKW inequality).
 */
export function createProfiler(names: readonly string[], seed = 1): Profiler {
  const width = names.length + 1;
  const keptMax = Math.max(1, Math.min(rowsKeptMax, Math.floor(valuesMax / width)));
  let kept = new Float64Array(Math.min(keptMax, 1_024) * width);
  const columns = [...names, 'score'].map(
    (name): Running => ({ name, count: 0, missing: 0, mean: 0, squares: 0, min: Infinity, max: -Infinity }),
  );
  let rows = 0;
  let state = seed >>> 0;
  /** Mulberry32: the same rows, the same sample. */
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };

  function placeOf(): number {
    if (rows < keptMax) {
      if ((rows + 1) * width > kept.length) {
        const larger = new Float64Array(Math.min(keptMax * width, kept.length * 2));
        larger.set(kept);
        kept = larger;
      }
      return rows;
    }
    const at = Math.floor(random() * (rows + 1));
    return at < keptMax ? at : -1;
  }

  return {
    add(row, score) {
      const place = placeOf();
      rows++;
      for (let at = 0; at < width; at++) {
        const value = at < names.length ? (row[at] ?? Number.NaN) : score;
        if (place >= 0) kept[place * width + at] = value;
        count(columns[at] as Running, value);
      }
    },
    get rows() {
      return rows;
    },
    profile(model, created) {
      if (rows === 0) throw new MeshError('INVALID_ARGUMENT', 'there are no rows to make a profile of');
      const keptRows = Math.min(rows, keptMax);
      const valuesOf = (at: number) =>
        Float64Array.from({ length: keptRows }, (_, row) => kept[row * width + at] as number)
          .filter(Number.isFinite)
          .sort();
      const all = columns.map((column, at) => described(column, valuesOf(at)));
      const features = all.slice(0, -1);
      const score = all.at(-1);
      const scales = outlierScales(features);
      const outliers = Float64Array.from(
        { length: keptRows },
        (_, row) => outlierOf(scales, kept, row * width).score,
      ).sort();
      return {
        ...{ format: profileFormat, model, created, rows, keptRows, columns: features },
        ...(score && score.count > 0 ? { score } : {}),
        outlierThreshold: Math.max(quantile(outliers, 1 - outlierShare), 1e-9),
      };
    },
  };
}

function count(column: Running, value: number): void {
  if (!Number.isFinite(value)) {
    column.missing++;
    return;
  }
  column.count++;
  const delta = value - column.mean;
  column.mean += delta / column.count;
  column.squares += delta * (value - column.mean);
  column.min = Math.min(column.min, value);
  column.max = Math.max(column.max, value);
}

/** @param sorted the values that were kept */
function described({ name, count: present, missing, mean, squares, min, max }: Running, sorted: Float64Array) {
  const edges = edgesOf(sorted);
  const counts = new Array<number>(edges.length + 1).fill(0);
  for (const value of sorted) counts[binOf(edges, value)] = (counts[binOf(edges, value)] ?? 0) + 1;
  const percentiles =
    sorted.length === 0 ? [] : Array.from({ length: 101 }, (_, percent) => quantile(sorted, percent / 100));
  const std = present > 1 ? Math.sqrt(squares / (present - 1)) : 0;
  const range = present === 0 ? { mean: 0, min: 0, max: 0 } : { mean, min, max };
  return { name, count: present, missing, std, ...range, edges, counts, percentiles } satisfies ColumnProfile;
}

function edgesOf(sorted: Float64Array): number[] {
  const distinct: number[] = [];
  for (const value of sorted) {
    if (value === distinct.at(-1)) continue;
    distinct.push(value);
    if (distinct.length > discreteMax) break;
  }
  if (distinct.length <= discreteMax)
    return distinct.slice(1).map((value, at) => (distinct[at] as number) + (value - (distinct[at] as number)) / 2);
  const deciles = Array.from({ length: 9 }, (_, at) => quantile(sorted, (at + 1) / 10));
  // a value that is more than a tenth of all makes deciles alike; nothing lies beyond the largest value
  return [...new Set(deciles)].filter((edge) => edge < (sorted.at(-1) as number));
}

/** NumPy's default, linear between order statistics. */
function quantile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)] as number, sorted[Math.ceil(at)] as number];
  return low + (high - low) * (at - Math.floor(at));
}
