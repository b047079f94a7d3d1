import { MeshError } from '@millrace/kernel';
import { createRandomState, type RandomState } from '@millrace/stats';

/** The outputs of each row. */
export type Score = (rows: readonly Float64Array[]) => Promise<readonly ArrayLike<number>[]>;

export interface SamplingOptions {
  /** Antithetic pairs of permutations: an order of the features and its reverse. 2 to 100,000. */
  readonly pairs: number;
  readonly seed: number;
  /** Rows of one call of the model, at most. */
  readonly rowsPerCall: number;
  readonly signal?: AbortSignal;
}

export interface SampledRow {
  /** One of each feature. */
  readonly values: Float64Array;
  /** Of each value: the deviation between pairs ÷ √pairs. */
  readonly standardErrors: Float64Array;
  /** What the model says on average of the background rows that were drawn. */
  readonly base: number;
  readonly margin: number;
  /** Sum of the values + base − margin. */
  readonly residual: number;
}

const featuresMax = 10_000;
const pairsMax = 100_000;

/**
 * Shapley values of any model by permutation sampling with antithetic pairs (Mitchell et al., 2022): features not yet taken over have the
 * values of a background row. The background is gone through in a random order, so all its rows count alike when `pairs` is a
 * multiple of their number. One result of each output; the same seed, the same values. 2 × features rows are scored for each pair.
 */
export async function sampleShapley(
  score: Score,
  row: ArrayLike<number>,
  background: readonly ArrayLike<number>[],
  options: SamplingOptions,
): Promise<readonly SampledRow[]> {
  checkSampling(row, background, options);
  const random = createRandomState(options.seed);
  const explained = Float64Array.from(row);
  const features = explained.length;
  const perCall = Math.max(1, Math.floor(options.rowsPerCall / (2 * features + 1)));
  let order = random.permutation(background.length);
  let sums: Sums | undefined;
  for (let pair = 0; pair < options.pairs; ) {
    options.signal?.throwIfAborted();
    const walks: Walk[] = [];
    for (; walks.length < perCall && pair < options.pairs; pair++) {
      if (pair > 0 && pair % background.length === 0) order = random.permutation(background.length);
      walks.push(walkOf(explained, background[order[pair % background.length] ?? 0] ?? [], random));
    }
    const rows = walks.flatMap((walk) => walk.rows);
    const scores = await scoreInParts(score, rows, options.rowsPerCall);
    const outputs = scores[0]?.length ?? 0;
    sums ??= createSums(outputs, features);
    for (const [index, walk] of walks.entries())
      addWalk(sums, walk, scores.slice(index * walk.rows.length, (index + 1) * walk.rows.length));
  }
  return sums ? resultsOf(sums, options.pairs) : [];
}

/** Background row, the way to the explained row in one order, that row, and the way in the reverse order. */
interface Walk {
  readonly order: Int32Array;
  readonly rows: readonly Float64Array[];
}

function walkOf(row: Float64Array, background: ArrayLike<number>, random: RandomState): Walk {
  const order = random.permutation(row.length);
  const start = Float64Array.from(background);
  const way = (features: Int32Array) => {
    const at = start.slice();
    return Array.from(features, (feature) => {
      at[feature] = row[feature] ?? Number.NaN;
      return at.slice();
    });
  };
  // the way back ends where the way there does
  return { order, rows: [start, ...way(order), ...way(order.toReversed()).slice(0, -1)] };
}

async function scoreInParts(score: Score, rows: readonly Float64Array[], size: number) {
  const scores: ArrayLike<number>[] = [];
  for (let at = 0; at < rows.length; at += size) {
    const part = rows.slice(at, at + size);
    const answer = await score(part);
    if (answer.length !== part.length)
      throw new MeshError('MODEL_RUN_FAILED', `the model answered ${answer.length} of ${part.length} rows`, {
        rows: part.length,
        answered: answer.length,
      });
    scores.push(...answer);
  }
  return scores;
}

interface Sums {
  readonly features: number;
  readonly outputs: number;
  pairs: number;
  /** Welford's, of each output and feature. */
  readonly mean: Float64Array;
  readonly squares: Float64Array;
  readonly base: Float64Array;
  readonly margin: Float64Array;
}

function createSums(outputs: number, features: number): Sums {
  return {
    features,
    outputs,
    pairs: 0,
    mean: new Float64Array(outputs * features),
    squares: new Float64Array(outputs * features),
    base: new Float64Array(outputs),
    margin: new Float64Array(outputs),
  };
}

function addWalk(sums: Sums, { order }: Walk, scores: readonly ArrayLike<number>[]): void {
  const { features, outputs } = sums;
  sums.pairs++;
  const scored = (at: number, output: number) => scores[at]?.[output] ?? Number.NaN;
  for (let output = 0; output < outputs; output++) {
    sums.base[output] = (sums.base[output] ?? 0) + (scored(0, output) - (sums.base[output] ?? 0)) / sums.pairs;
    sums.margin[output] = scored(features, output);
    for (let step = 0; step < features; step++) {
      const there = scored(step + 1, output) - scored(step, output);
      // the same feature in the reverse order, whose last row is the explained one
      const back = features - 1 - step;
      const from = back === 0 ? 0 : features + back;
      const to = back === features - 1 ? features : features + back + 1;
      const value = (there + scored(to, output) - scored(from, output)) / 2;
      const at = output * features + (order[step] ?? 0);
      const before = sums.mean[at] ?? 0;
      const mean = before + (value - before) / sums.pairs;
      sums.mean[at] = mean;
      sums.squares[at] = (sums.squares[at] ?? 0) + (value - before) * (value - mean);
    }
  }
}

function resultsOf({ features, outputs, mean, squares, base, margin }: Sums, pairs: number): SampledRow[] {
  return Array.from({ length: outputs }, (_, output) => {
    const [from, to] = [output * features, (output + 1) * features];
    const values = mean.slice(from, to);
    const standardErrors = squares.slice(from, to).map((sum) => Math.sqrt(sum / (pairs - 1) / pairs));
    const [baseOf, marginOf] = [base[output] ?? 0, margin[output] ?? 0];
    const residual = values.reduce((sum, value) => sum + value, baseOf) - marginOf;
    return { values, standardErrors, base: baseOf, margin: marginOf, residual };
  });
}

function checkSampling(
  row: ArrayLike<number>,
  background: readonly ArrayLike<number>[],
  { pairs, rowsPerCall }: SamplingOptions,
): void {
  const refuse = (message: string, metadata: Readonly<Record<string, number>>) =>
    new MeshError('INVALID_ARGUMENT', message, metadata);
  if (row.length < 1 || row.length > featuresMax)
    throw refuse(`the row has ${row.length} features; sampling takes 1 to ${featuresMax}`, { features: row.length });
  if (!Number.isInteger(pairs) || pairs < 2 || pairs > pairsMax)
    throw refuse(`${pairs} pairs of permutations; give 2 to ${pairsMax}`, { pairs });
  if (!Number.isInteger(rowsPerCall) || rowsPerCall < 1)
    throw refuse(`${rowsPerCall} rows of a call; give 1 or more`, { rowsPerCall });
  if (background.length === 0) throw refuse('there are no background rows; give some training rows', {});
  const wrong = background.find(({ length }) => length !== row.length);
  if (wrong)
    throw refuse(`a background row has ${wrong.length} values and the explained row ${row.length}; give as many`, {
      background: wrong.length,
      row: row.length,
    });
}
