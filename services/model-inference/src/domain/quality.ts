/** Scores fall into this many bins: with a score in each of them, AUC is exact to half a bin's share of pairs. */
const bins = 65_536;
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
}

/**
 * Running quality of scores in [0, 1] in constant memory. AUC is the Mann–Whitney statistic over 65,536 equal bins, pairs within a bin
 * counting half: its error is at most Σ (positives × negatives of a bin) / (2 × positives × negatives).
 */
export class RunningQuality {
  readonly #positives = new Uint32Array(bins);
  readonly #negatives = new Uint32Array(bins);
  #count = 0;
  #positiveCount = 0;
  #loss = 0;

  add(score: number, positive: boolean): void {
    const clipped = Math.min(1 - smallest, Math.max(smallest, score));
    const bin = Math.min(bins - 1, Math.floor(clipped * bins));
    const side = positive ? this.#positives : this.#negatives;
    side[bin] = (side[bin] as number) + 1;
    this.#count++;
    this.#positiveCount += Number(positive);
    this.#loss += logLoss(score, positive);
  }

  figures(): QualityFigures {
    const outcomes = this.#count;
    return {
      outcomes,
      auc: this.#auc(),
      logLoss: outcomes === 0 ? Number.NaN : this.#loss / outcomes,
      positiveRate: outcomes === 0 ? Number.NaN : this.#positiveCount / outcomes,
    };
  }

  #auc(): number {
    const positives = this.#positiveCount;
    const negatives = this.#count - positives;
    if (positives === 0 || negatives === 0) return Number.NaN;
    let below = 0;
    let wins = 0;
    for (let bin = 0; bin < bins; bin++) {
      const lost = this.#negatives[bin] as number;
      wins += (this.#positives[bin] as number) * (below + lost / 2);
      below += lost;
    }
    return wins / (positives * negatives);
  }
}
