/** Scores fall into this many bins: with a score in each of them, AUC is exact to half a bin's share of pairs. */
const wholeBins = 65_536;
/** Of calibration: ten equal widths, as is usual. */
const reliabilityBins = 10;
const smallest = Number.EPSILON;

/** In nats, the probability clipped to [2⁻⁵², 1 − 2⁻⁵²]. */
function logLoss(score: number, positive: boolean): number {
  const clipped = Math.min(1 - smallest, Math.max(smallest, score));
  return positive ? -Math.log(clipped) : -Math.log1p(-clipped);
}

export interface QualityFigures {
  readonly outcomes: number;
  /** NaN until both classes were seen. */
  readonly auc: number;
  /** In nats, probabilities clipped to [2⁻⁵², 1 − 2⁻⁵²]; NaN without outcomes. */
  readonly logLoss: number;
  readonly positiveRate: number;
  /** The mean of (score − positive)². */
  readonly brier: number;
  /** The expected calibration error over ten bins of equal width: Σ share of the bin × |mean score − positive rate|. */
  readonly calibrationError: number;
  /** Of the score and the outcome as a number: for models of amounts. */
  readonly rmse: number;
  readonly mae: number;
}

/**
 * Running quality of scores in constant memory. What is of probabilities takes them to be in [0, 1] and an outcome above 0 to be positive. AUC is the
 * Mann–Whitney statistic over equal bins, pairs within a bin counting half: its error is at most Σ (positives × negatives of a bin) / (2 × positives × negatives).
 */
export class RunningQuality {
  readonly #positives: Uint32Array;
  readonly #negatives: Uint32Array;
  readonly #scoreSums = new Float64Array(reliabilityBins);
  readonly #hits = new Float64Array(reliabilityBins);
  #count = 0;
  #positiveCount = 0;
  #loss = 0;
  #brier = 0;
  #squares = 0;
  #absolutes = 0;

  /** @param bins of AUC, eight bytes each */
  constructor(bins: number = wholeBins) {
    this.#positives = new Uint32Array(bins);
    this.#negatives = new Uint32Array(bins);
  }

  add(score: number, outcome: number): void {
    const positive = outcome > 0;
    const clipped = Math.min(1 - smallest, Math.max(smallest, score));
    const bins = this.#positives.length;
    const bin = Math.min(bins - 1, Math.floor(clipped * bins));
    const side = positive ? this.#positives : this.#negatives;
    side[bin] = (side[bin] as number) + 1;
    const group = Math.min(reliabilityBins - 1, Math.floor(clipped * reliabilityBins));
    this.#scoreSums[group] = (this.#scoreSums[group] as number) + score;
    this.#hits[group] = (this.#hits[group] as number) + Number(positive);
    this.#count++;
    this.#positiveCount += Number(positive);
    this.#loss += logLoss(score, positive);
    this.#brier += (score - Number(positive)) ** 2;
    this.#squares += (score - outcome) ** 2;
    this.#absolutes += Math.abs(score - outcome);
  }

  figures(): QualityFigures {
    const outcomes = this.#count;
    const mean = (sum: number) => (outcomes === 0 ? Number.NaN : sum / outcomes);
    // the share of a bin cancels its count: n / N × |Σ s / n − Σ y / n|
    const gap = this.#scoreSums.reduce(
      (sum, scores, group) => sum + Math.abs(scores - (this.#hits[group] as number)),
      0,
    );
    return {
      outcomes,
      auc: this.#auc(),
      logLoss: mean(this.#loss),
      positiveRate: mean(this.#positiveCount),
      brier: mean(this.#brier),
      calibrationError: mean(gap),
      rmse: Math.sqrt(mean(this.#squares)),
      mae: mean(this.#absolutes),
    };
  }

  #auc(): number {
    const positives = this.#positiveCount;
    const negatives = this.#count - positives;
    if (positives === 0 || negatives === 0) return Number.NaN;
    let below = 0;
    let wins = 0;
    for (let bin = 0; bin < this.#positives.length; bin++) {
      const lost = this.#negatives[bin] as number;
      wins += (this.#positives[bin] as number) * (below + lost / 2);
      below += lost;
    }
    return wins / (positives * negatives);
  }
}
