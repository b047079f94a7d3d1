/** Scores are clipped to this far from 0 and 1 before their loss is taken, so that no loss is above `lossMax`. */
const scoreEdge = 0.001;
/** In nats. */
export const lossMax = -Math.log(scoreEdge);

/** Shares of what there is that are bet: from large differences to small ones, all with the same stake. */
const shares = [0.9, 0.45, 0.22, 0.1, 0.05, 0.02] as const;

/** The log loss in nats of a probability clipped to [0.001, 0.999]: proper between the edges, and bounded, which a bet needs. */
export function boundedLogLoss(score: number, positive: boolean): number {
  const clipped = Math.min(1 - scoreEdge, Math.max(scoreEdge, score));
  return positive ? -Math.log(clipped) : -Math.log1p(-clipped);
}

/**
 * Logarithms of what one bet on "the mean difference is above `limit`" multiplies the stakes by, for each share: 1 + λ (d − limit) / (lossMax +
 * limit). A difference lies in ±lossMax, so no bet loses everything, and where its mean, given the past, is not above the limit, every bet
 * is unfavourable: the mean of the stakes is a supermartingale, whatever the distribution and however few there are. By Ville's inequality it
 * ever reaches 1 / α with a chance of at most α (Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting", §4).
 */
export function betsAbove(difference: number, limit: number): readonly number[] {
  const worst = lossMax + limit;
  const gain = Math.max(-1, (difference - limit) / worst);
  return shares.map((share) => Math.log1p(share * gain));
}

/** The same on "the mean difference is below `limit`". */
export function betsBelow(difference: number, limit: number): readonly number[] {
  return betsAbove(-difference, -limit);
}

/**
 * Differences of losses, of outcomes in the order in which they come: whenever both arms have one since the last time, the mean of the canary's
 * less the mean of the stable arm's. What moves both arms alike while a rollout runs, and steps of other shares, cancel out.
 */
export interface LossBlocks {
  add(isCanary: boolean, loss: number): void;
  /** Those since the last time. */
  take(): readonly number[];
}

export function createLossBlocks(): LossBlocks {
  let [canary, stable] = [noLosses, noLosses];
  let closed: number[] = [];
  return {
    add(isCanary, loss) {
      if (isCanary) canary = plus(canary, loss);
      else stable = plus(stable, loss);
      if (canary.count === 0 || stable.count === 0) return;
      closed.push(canary.sum / canary.count - stable.sum / stable.count);
      [canary, stable] = [noLosses, noLosses];
    },
    take() {
      const taken = closed;
      closed = [];
      return taken;
    },
  };
}

interface Losses {
  readonly count: number;
  readonly sum: number;
}

const noLosses: Losses = { count: 0, sum: 0 };

function plus({ count, sum }: Losses, loss: number): Losses {
  return { count: count + 1, sum: sum + loss };
}
