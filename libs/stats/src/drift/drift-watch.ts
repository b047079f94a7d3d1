import { jensenShannon, ksOfBins, psi, psiCritical } from '../distribution.ts';
import { binOf, type ColumnProfile, type ModelProfile } from './profile.ts';

export interface DriftOptions {
  /** Predictions of the window; a twelfth leaves at a time. */
  readonly windowRows: number;
  /** What is older leaves too. */
  readonly windowMs: number;
  /** Below so many predictions nothing is judged. */
  readonly rowsMin: number;
  /** PSI below which a shift is too small to matter, however certain. */
  readonly psiMin: number;
  /** The sequential detector's false alarms: one in so many predictions, of all columns together. */
  readonly falseAlarmRows: number;
}

export const driftDefaults: DriftOptions = {
  windowRows: 6_000,
  windowMs: 3_600_000,
  rowsMin: 200,
  psiMin: 0.1,
  falseAlarmRows: 10_000_000,
};

/** How one column of the window compares with the profile. */
export interface ColumnDrift {
  readonly name: string;
  /** With half a count more in each bin: an empty one of few predictions says little. */
  readonly psi: number;
  /** What PSI must exceed: the larger of `psiMin` and its 1 − 10⁻⁵ / columns quantile when nothing has moved. */
  readonly psiLimit: number;
  /** The distance, base 2: 0 to 1. */
  readonly jensenShannon: number;
  /** The Kolmogorov–Smirnov distance at the edges of bins: no more than the true one. */
  readonly ks: number;
  /** The window's mean less the profile's, in its standard deviations. */
  readonly meanShift: number;
  readonly missingShare: number;
  /** In standard errors, from the profile's share. */
  readonly missingZ: number;
  /** The detector: the larger of its two logarithms over their limit; from 1 on it has fired. */
  readonly cusum: number;
  /** Of the PSI of all columns. */
  readonly share: number;
  /** Which of `psi`, `cusum`, `missing` say that it has drifted. */
  readonly signs: readonly string[];
}

const blocks = 12;
const psiAlpha = 1e-5;
/** A missing rate has changed beyond so many standard errors (two-sided 10⁻⁵ for a hundred columns), and by so much. */
const missingZMin = 5.4;
const missingShareMin = 0.02;
/** Of the detector's bets, of standard deviations. */
const stake = 0.5;
/** 99 %: by how much the profile's own mean may be off. */
const profileZ = 2.58;

/**
 * Compares predictions with the profile of what the model was trained on, over a sliding window and by a sequential detector. Adding a value costs a
 * search among at most 19 edges and a few additions.
 *
 * The detector is a two-sided CUSUM e-detector (Shin, Ramdas & Rinaldo 2023, "E-detectors") of ridits (Bross 1958): a value counts as the share of the
 * profile below the middle of its bin, scaled to mean 0 and deviation 1. A bet of λ on its mean being above what the profile's own error allows (2.58 /
 * √count) gains a factor of 1 + λ (s − error), which is at most 1 on average where nothing has moved, whatever the distribution; M ← max(1, M) × factor then reaches
 * its limit no more often than once in so many predictions. λ = 0.5 finds shifts of half a deviation in some 200 predictions and leaves those below a quarter alone.
 * Predictions are taken as independent.
 */
export class DriftWatch {
  readonly #options: DriftOptions;
  readonly #columns: readonly ColumnWatch[];
  readonly #hasScore: boolean;
  #block = 0;
  #blockRows = 0;
  #blockStartedMs: number;
  readonly #rowsOfBlock = new Float64Array(blocks);
  readonly #startOfBlock = new Float64Array(blocks).fill(Number.NEGATIVE_INFINITY);
  /** Of all time. */
  rows = 0;

  /** The score, where the profile has one, is the last column. */
  constructor(profile: ModelProfile, nowMs: number, options: DriftOptions = driftDefaults) {
    this.#options = options;
    this.#hasScore = profile.score !== undefined;
    this.#blockStartedMs = nowMs;
    const all = [...profile.columns, ...(profile.score ? [profile.score] : [])];
    this.#columns = all.map((column) => new ColumnWatch(column, options.falseAlarmRows * 2 * all.length));
    this.#startOfBlock[0] = nowMs;
  }

  get width(): number {
    return this.#columns.length;
  }

  /** A value of each column of the profile, from a place on, and the score. */
  add(values: ArrayLike<number>, from: number, score: number, nowMs: number): void {
    const { windowRows, windowMs } = this.#options;
    if (this.#blockRows >= windowRows / blocks || nowMs - this.#blockStartedMs >= windowMs / blocks) this.#next(nowMs);
    const last = this.#columns.length - 1;
    for (let at = 0; at <= last; at++) {
      const column = this.#columns[at] as ColumnWatch;
      column.add(at === last && this.#hasScore ? score : (values[from + at] as number), this.#block);
    }
    this.#blockRows++;
    this.#rowsOfBlock[this.#block] = this.#blockRows;
    this.rows++;
  }

  #next(nowMs: number): void {
    this.#block = (this.#block + 1) % blocks;
    this.#blockRows = 0;
    this.#blockStartedMs = nowMs;
    this.#rowsOfBlock[this.#block] = 0;
    this.#startOfBlock[this.#block] = nowMs;
    for (const column of this.#columns) column.clear(this.#block);
  }

  /** The window now; the column that moved most is first. */
  figures(nowMs: number): { readonly rows: number; readonly columns: readonly ColumnDrift[] } {
    const live = Array.from({ length: blocks }, (_, at) => at).filter(
      (at) => nowMs - (this.#startOfBlock[at] as number) < this.#options.windowMs * (1 + 1 / blocks),
    );
    const rows = live.reduce((sum, at) => sum + (this.#rowsOfBlock[at] as number), 0);
    const isJudged = rows >= this.#options.rowsMin;
    const columns = this.#columns.map((column) =>
      column.figures(live, rows, psiAlpha / this.#columns.length, this.#options.psiMin, isJudged),
    );
    const total = columns.reduce((sum, one) => sum + (Number.isFinite(one.psi) ? one.psi : 0), 0);
    return {
      rows,
      columns: columns
        .map((one) => ({ ...one, share: total > 0 && Number.isFinite(one.psi) ? one.psi / total : 0 }))
        .sort((a, b) => b.signs.length - a.signs.length || b.share - a.share),
    };
  }
}

class ColumnWatch {
  readonly profile: ColumnProfile;
  /** A count for each bin and for missing ones, of each block. */
  readonly #counts: Float64Array;
  readonly #sums = new Float64Array(blocks);
  /** By bin: what a value adds to the logarithm of each bet. */
  readonly #higher: Float64Array;
  readonly #lower: Float64Array;
  readonly #limit: number;
  readonly #width: number;
  #up = 0;
  #down = 0;

  constructor(profile: ColumnProfile, falseAlarmRows: number) {
    this.profile = profile;
    this.#width = profile.counts.length + 1;
    this.#counts = new Float64Array(blocks * this.#width);
    const ridits = riditsOf(profile.counts);
    const error = profileZ / Math.sqrt(Math.max(1, profile.count));
    this.#higher = gainsOf(ridits, error);
    this.#lower = gainsOf(
      ridits.map((ridit) => -ridit),
      error,
    );
    this.#limit = Math.log(falseAlarmRows);
  }

  add(value: number, block: number): void {
    const from = block * this.#width;
    if (!Number.isFinite(value)) {
      const missing = from + this.#width - 1;
      this.#counts[missing] = (this.#counts[missing] as number) + 1;
      return;
    }
    const bin = binOf(this.profile.edges, value);
    this.#counts[from + bin] = (this.#counts[from + bin] as number) + 1;
    this.#sums[block] = (this.#sums[block] as number) + value;
    // twice the limit at most, so that what has passed is forgotten
    const most = 2 * this.#limit;
    this.#up = Math.min(most, Math.max(0, this.#up) + (this.#higher[bin] as number));
    this.#down = Math.min(most, Math.max(0, this.#down) + (this.#lower[bin] as number));
  }

  clear(block: number): void {
    this.#counts.fill(0, block * this.#width, (block + 1) * this.#width);
    this.#sums[block] = 0;
  }

  figures(live: readonly number[], rows: number, alpha: number, psiMin: number, isJudged: boolean): ColumnDrift {
    const { profile } = this;
    const counts = Array.from({ length: this.#width }, (_, bin) =>
      live.reduce((sum, block) => sum + (this.#counts[block * this.#width + bin] as number), 0),
    );
    const missing = counts.pop() ?? 0;
    const present = counts.reduce((sum, count) => sum + count, 0);
    const kept = profile.counts.reduce((sum, count) => sum + count, 0);
    const bins = counts.length;
    const isCompared = present > 0 && kept > 0;
    const found = isCompared ? psi(smooth(profile.counts), smooth(counts)) : Number.NaN;
    const psiLimit = Math.max(psiMin, isCompared && bins > 1 ? psiCritical(alpha, kept, present, bins) : 0);
    const sum = live.reduce((total, block) => total + (this.#sums[block] as number), 0);
    const missingShare = rows === 0 ? Number.NaN : missing / rows;
    const missingZ = proportionZ(profile.missing, profile.count + profile.missing, missing, rows);
    const cusum = Math.max(0, this.#up, this.#down) / this.#limit;
    const usual = profile.missing / Math.max(1, profile.count + profile.missing);
    const signs = isJudged
      ? [
          ...(present >= 50 && found > psiLimit ? ['psi'] : []),
          ...(cusum >= 1 ? ['cusum'] : []),
          ...(Math.abs(missingZ) > missingZMin && Math.abs(missingShare - usual) >= missingShareMin ? ['missing'] : []),
        ]
      : [];
    return {
      name: profile.name,
      psi: found,
      psiLimit,
      jensenShannon: isCompared ? jensenShannon(profile.counts, counts) : Number.NaN,
      ks: isCompared ? ksOfBins(profile.counts, counts) : Number.NaN,
      meanShift: present > 0 && profile.std > 0 ? (sum / present - profile.mean) / profile.std : Number.NaN,
      ...{ missingShare, missingZ, cusum, share: 0, signs },
    };
  }
}

function smooth(counts: readonly number[]): number[] {
  return counts.map((count) => count + 0.5);
}

/** By bin: the share of the profile below its middle, less a half, over the deviation of that. */
function riditsOf(counts: readonly number[]): Float64Array {
  const total = counts.reduce((sum, count) => sum + count, 0);
  let below = 0;
  const ridits = counts.map((count) => {
    const ridit = (below + count / 2) / Math.max(1, total) - 0.5;
    below += count;
    return ridit;
  });
  const variance = ridits.reduce(
    (sum, ridit, bin) => sum + (ridit * ridit * (counts[bin] ?? 0)) / Math.max(1, total),
    0,
  );
  return Float64Array.from(ridits, (ridit) => (variance > 0 ? ridit / Math.sqrt(variance) : 0));
}

/** ln(1 + λ (s − error)); no bet may lose more than nine tenths. */
function gainsOf(ridits: Float64Array, error: number): Float64Array {
  const bet = Math.min(stake, 0.9 / (error - Math.min(0, ...ridits)));
  return ridits.map((ridit) => Math.log1p(bet * (ridit - error)));
}

/** The difference of two shares in its standard errors, pooled: χ² without correction is its square. */
export function proportionZ(hits: number, of: number, laterHits: number, laterOf: number): number {
  if (of === 0 || laterOf === 0) return 0;
  const pooled = (hits + laterHits) / (of + laterOf);
  const error = Math.sqrt(pooled * (1 - pooled) * (1 / of + 1 / laterOf));
  return error === 0 ? 0 : (laterHits / laterOf - hits / of) / error;
}
