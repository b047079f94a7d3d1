import { MeshError } from '@millrace/kernel';

export const profileFormat = 'millrace.profile/1';

/** How the values of one column were spread when the model was trained. */
export interface ColumnProfile {
  readonly name: string;
  /** Values that were there, and those that were not (null, NaN). */
  readonly count: number;
  readonly missing: number;
  readonly mean: number;
  /** With n − 1. */
  readonly std: number;
  readonly min: number;
  readonly max: number;
  /** What bins are parted by, ascending: deciles, or the middles between values where there are at most 20; a value equal to an edge is below it. */
  readonly edges: readonly number[];
  /** Values of each bin, one more than edges, over the rows that were kept. */
  readonly counts: readonly number[];
  /** The 0th to 100th percentile, as NumPy interpolates them. */
  readonly percentiles: readonly number[];
}

/** What a model was trained on, and what it says to it. */
export interface ModelProfile {
  readonly format: typeof profileFormat;
  readonly model: string;
  /** UTC, ISO 8601. */
  readonly created: string;
  readonly rows: number;
  /** Rows that edges, counts and percentiles come of: all, or a uniform sample. */
  readonly keptRows: number;
  /** In the order of the model's vector. */
  readonly columns: readonly ColumnProfile[];
  /** What the model says to those rows; left out: it was not asked. */
  readonly score?: ColumnProfile;
  /** The outlier score that one row in a thousand of the kept rows exceeds. */
  readonly outlierThreshold: number;
}

/** The bin of a value that is not NaN. */
export function binOf(edges: readonly number[], value: number): number {
  let [low, high] = [0, edges.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((edges[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A profile as its file has it. INVALID_ARGUMENT names what is wrong. */
export function parseProfile(text: string, title: string): ModelProfile {
  const bad = (message: string) =>
    new MeshError('INVALID_ARGUMENT', `profile "${title}" ${message}; make it again: millrace model profile`, {
      profile: title,
    });
  let given: ModelProfile;
  try {
    given = JSON.parse(text) as ModelProfile;
  } catch {
    throw bad('is not JSON');
  }
  if (given?.format !== profileFormat) throw bad(`is of format "${given?.format}", not "${profileFormat}"`);
  if (!Array.isArray(given.columns)) throw bad('has no columns');
  if (!(given.outlierThreshold > 0)) throw bad('has no outlierThreshold above 0');
  for (const column of [...given.columns, ...(given.score ? [given.score] : [])]) {
    const { name, edges, counts, percentiles, count, missing } = column;
    const isSound =
      typeof name === 'string' &&
      Array.isArray(edges) &&
      Array.isArray(counts) &&
      counts.length === edges.length + 1 &&
      edges.every((edge, at) => Number.isFinite(edge) && (at === 0 || edge > (edges[at - 1] as number))) &&
      counts.every((one) => one >= 0) &&
      Array.isArray(percentiles) &&
      (percentiles.length === 101 || (count === 0 && percentiles.length === 0)) &&
      count >= 0 &&
      missing >= 0;
    if (!isSound) throw bad(`has a column "${name}" whose edges, counts and percentiles do not fit`);
  }
  return given;
}
