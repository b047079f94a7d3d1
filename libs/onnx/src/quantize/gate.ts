/** An output of both models on the same rows, row-major. Texts and integers are labels, floats are scores. */
export interface OutputPair {
  readonly output: string;
  readonly rows: number;
  readonly original: ArrayLike<number> | readonly string[];
  readonly quantized: ArrayLike<number> | readonly string[];
  readonly isLabel: boolean;
}

export interface OutputReport {
  readonly output: string;
  /** Signal to quantization noise; infinite where nothing differs. Of scores. */
  readonly sqnrDb?: number;
  /** The largest difference of a score. */
  readonly maxDifference?: number;
  /** How often the label, the column of the highest score, or the side of 0.5 of a probability is the same. */
  readonly agreement?: { readonly rows: number; readonly same: number; readonly lowerBound: number };
}

export interface GateLimits {
  readonly sqnrDbMin: number;
  /** Of the 95 % lower bound of label agreement. */
  readonly agreementMin: number;
  readonly rowsMin: number;
}

export const gateLimits: GateLimits = { sqnrDbMin: 25, agreementMin: 0.995, rowsMin: 512 };

/** One-sided, 95 %. */
const z95 = 1.6448536269514722;

/** The lower end of Wilson's score interval for a share, at a one-sided confidence of 95 %. */
export function wilsonLower(same: number, rows: number): number {
  if (rows === 0) return 0;
  const share = same / rows;
  const square = z95 ** 2 / rows;
  const middle = share + square / 2;
  const spread = z95 * Math.sqrt((share * (1 - share)) / rows + square / (4 * rows));
  return Math.max(0, (middle - spread) / (1 + square));
}

export function reportOutput(pair: OutputPair): OutputReport {
  const { output, rows, original, quantized } = pair;
  if (original.length !== quantized.length)
    throw new RangeError(`"${output}" has ${quantized.length} values, not ${original.length}`);
  if (pair.isLabel) {
    const same = Array.from<number | string>(original as ArrayLike<number | string>).filter(
      (value, at) => value === quantized[at],
    ).length;
    return { output, agreement: agreementOf(same, original.length) };
  }
  const scores = original as ArrayLike<number>;
  const others = quantized as ArrayLike<number>;
  const labels = labelsOf(scores, rows);
  const otherLabels = labelsOf(others, rows, labels?.kind);
  const same = labels?.values.filter((label, row) => label === otherLabels?.values[row]).length;
  return {
    output,
    ...differenceOf(scores, others),
    ...(same === undefined ? {} : { agreement: agreementOf(same, rows) }),
  };
}

function agreementOf(same: number, rows: number) {
  return { rows, same, lowerBound: wilsonLower(same, rows) };
}

function differenceOf(original: ArrayLike<number>, quantized: ArrayLike<number>) {
  let [signal, noise, maxDifference] = [0, 0, 0];
  for (let at = 0; at < original.length; at++) {
    const [value = 0, other = 0] = [original[at], quantized[at]];
    if (Number.isNaN(value) && Number.isNaN(other)) continue;
    const difference = Math.abs(value - other);
    signal += value ** 2;
    noise += difference ** 2;
    // a number against none is an infinite difference
    if (!(difference <= maxDifference))
      maxDifference = Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference;
  }
  const sqnrDb =
    noise === 0
      ? Number.POSITIVE_INFINITY
      : Number.isNaN(noise)
        ? Number.NEGATIVE_INFINITY
        : 10 * Math.log10(signal / noise);
  return { sqnrDb, maxDifference };
}

type LabelKind = 'highest' | 'side';

/** Columns of scores name a class by the highest; one column of values between 0 and 1 by its side of a half; else there are no labels. */
function labelsOf(values: ArrayLike<number>, rows: number, kind?: LabelKind) {
  const columns = values.length / rows;
  if (columns === 1) {
    const isProbability = kind === 'side' || Array.from(values).every((value) => value >= 0 && value <= 1);
    return isProbability
      ? { kind: 'side' as const, values: Array.from(values, (value) => (value > 0.5 ? 1 : 0)) }
      : undefined;
  }
  return {
    kind: 'highest' as const,
    values: Array.from({ length: rows }, (_, row) => {
      let best = 0;
      for (let column = 1; column < columns; column++)
        if ((values[row * columns + column] ?? 0) > (values[row * columns + best] ?? 0)) best = column;
      return best;
    }),
  };
}

/** Why a quantized model may not be served, for people; none when it may. */
export function gateProblems(
  reports: readonly OutputReport[],
  rows: number,
  variance: { readonly original: number; readonly quantized: number } | undefined,
  limits: GateLimits = gateLimits,
): string[] {
  const problems: string[] = [];
  if (rows < limits.rowsMin) problems.push(`${rows} sample rows are fewer than ${limits.rowsMin}; give more`);
  for (const { output, sqnrDb, agreement } of reports) {
    if (sqnrDb !== undefined && !(sqnrDb >= limits.sqnrDbMin))
      problems.push(
        `output "${output}" has ${sqnrDb.toFixed(1)} dB of signal to noise, below ${limits.sqnrDbMin}; exclude layers`,
      );
    if (agreement && agreement.lowerBound < limits.agreementMin)
      problems.push(
        `output "${output}" gives the same label for ${agreement.same} of ${agreement.rows} rows, which proves ${percent(agreement.lowerBound)}, below ${percent(limits.agreementMin)}; ${agreement.same === agreement.rows ? 'give more rows' : 'exclude layers'}`,
      );
  }
  if (variance && variance.quantized > 0 && variance.original === 0)
    problems.push(`a row's answer depends on its batch (by ${variance.quantized}), which the original's does not`);
  return problems;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(2)} %`;
}
