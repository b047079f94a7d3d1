import { encodeLabels, type Label } from './labels.ts';
import { type FoldOptions, foldCount, type Split, shuffler, splitsOfFolds } from './split.ts';

/**
 * K folds that keep a group's rows together and each class in about its share: greedy, the groups with the most uneven classes first, each to the
 * fold where the shares of classes then differ least. As scikit-learn's StratifiedGroupKFold, index for index. INVALID_ARGUMENT for more folds than
 * groups or than rows of the largest class.
 */
export function stratifiedGroupKFold(
  classes: readonly Label[],
  groups: readonly Label[],
  options: FoldOptions = {},
): Split[] {
  const ofClass = encodeLabels(classes, 'classes');
  const ofGroup = encodeLabels(groups, 'groups');
  foldCount(options, Math.max(0, ...ofClass.counts), 'rows of the largest class');
  const splits = foldCount(options, ofGroup.counts.length, 'groups');
  const order = Int32Array.from(ofGroup.counts, (_, group) => group);
  shuffler(options)?.shuffle(order);
  const perGroup = Array.from(ofGroup.counts, () => new Float64Array(ofClass.counts.length));
  for (const [row, group] of ofGroup.codes.entries())
    increase(perGroup[group] as Float64Array, ofClass.codes[row] ?? 0);
  const uneven = Float64Array.from(order, (group) => deviation(perGroup[group] as Float64Array));
  const sorted = Array.from(order, (group, place) => ({ group, place })).sort(
    (x, y) => (uneven[y.place] as number) - (uneven[x.place] as number),
  );
  const perFold = Array.from({ length: splits }, () => new Float64Array(ofClass.counts.length));
  const foldOfGroup = new Int32Array(ofGroup.counts.length);
  for (const { group } of sorted) {
    const counts = perGroup[group] as Float64Array;
    const best = bestFold(perFold, ofClass.counts, counts);
    add(perFold[best] as Float64Array, counts, 1);
    foldOfGroup[group] = best;
  }
  return splitsOfFolds(
    ofGroup.codes.map((group) => foldOfGroup[group] as number),
    splits,
  );
}

function bestFold(perFold: readonly Float64Array[], classCounts: Int32Array, counts: Float64Array): number {
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  let fewest = Number.POSITIVE_INFINITY;
  for (const [fold, held] of perFold.entries()) {
    add(held, counts, 1);
    const spread = Float64Array.from(classCounts, (total, code) =>
      deviation(
        Float64Array.from(perFold, (of) => (of[code] as number) / total),
        oneByOne,
      ),
    );
    add(held, counts, -1);
    const evenness = sum(spread) / spread.length;
    const rows = sum(held);
    if (evenness < least || (isClose(evenness, least) && rows < fewest)) {
      least = evenness;
      fewest = rows;
      best = fold;
    }
  }
  return best;
}

/** NumPy's `isclose` with its defaults. */
function isClose(x: number, y: number): boolean {
  return Math.abs(x - y) <= 1e-8 + 1e-5 * Math.abs(y);
}

function increase(counts: Float64Array, at: number): void {
  counts[at] = (counts[at] as number) + 1;
}

function add(to: Float64Array, from: Float64Array, times: number): void {
  for (let i = 0; i < to.length; i++) to[i] = (to[i] as number) + times * (from[i] as number);
}

/** The population's standard deviation, rounded as NumPy rounds it: ties between groups depend on the last bit. */
function deviation(values: Float64Array, total = sum): number {
  const mean = total(values) / values.length;
  return Math.sqrt(total(values.map((value) => (value - mean) * (value - mean))) / values.length);
}

/** NumPy's sum over the first axis. */
function oneByOne(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0);
}

/** NumPy's pairwise sum of a contiguous run: eight sums side by side, halves from 128 values on. */
function sum(values: Float64Array): number {
  const n = values.length;
  if (n > 128) {
    const half = Math.floor(n / 2) - (Math.floor(n / 2) % 8);
    return sum(values.subarray(0, half)) + sum(values.subarray(half));
  }
  const at = (i: number) => values[i] as number;
  let total = 0;
  let next = 0;
  if (n >= 8) {
    const r = Array.from(values.subarray(0, 8));
    for (next = 8; next < n - (n % 8); next += 8) for (let i = 0; i < 8; i++) r[i] = (r[i] as number) + at(next + i);
    const [a, b, c, d, e, f, g, h] = r as [number, number, number, number, number, number, number, number];
    total = a + b + (c + d) + (e + f + (g + h));
  }
  for (; next < n; next++) total += at(next);
  return total;
}
