import { logGamma } from '@millrace/stats';
import { logMeanExp } from './statistics/log-sum.ts';
import { bernoulliLogRatio } from './statistics/sprt.ts';

/** Whether units split as the plan says: an e-process over odds that are off by 10 % to threefold, either way. */
export interface RatioState {
  readonly logs: readonly number[];
  readonly canary: number;
  readonly stable: number;
  /** Always valid. */
  readonly p: number;
}

const offBy = [1 / 3, 0.5, 0.8, 0.9, 1.1, 1.25, 2, 3] as const;

export function startRatio(): RatioState {
  return { logs: offBy.map(() => 0), canary: 0, stable: 0, p: 1 };
}

/** Adds units that took part for the first time. A share of 0 splits nothing. */
export function addRatio(state: RatioState, share: number, canary: number, stable: number): RatioState {
  if (share <= 0 || canary + stable === 0) return state;
  const count = { trials: canary + stable, hits: canary };
  const logs = offBy.map((ratio, index) => {
    const off = (share * ratio) / (1 - share + share * ratio);
    return (state.logs[index] ?? 0) + bernoulliLogRatio(off, share, count);
  });
  return {
    logs,
    canary: state.canary + canary,
    stable: state.stable + stable,
    p: Math.min(state.p, Math.exp(-logMeanExp(logs))),
  };
}

/** Observations that the prior of `splitP` is worth: shares are expected within some 10 % of themselves when they are off. */
const concentration = 100;

/**
 * Whether units fell on arms as their shares say: a Dirichlet-multinomial against the multinomial of the shares (Lindon & Malek 2022, "Anytime-valid
 * inference for multinomial count data"). 1 over the Bayes factor, at most 1: below alpha with probability alpha at most when all is well, however
 * often it is looked at. Arms without a share must have no units: 0 when one has.
 */
export function splitP(counts: readonly number[], weights: readonly number[]): number {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const units = counts.reduce((sum, count) => sum + count, 0);
  let log = logGamma(concentration) - logGamma(concentration + units);
  for (const [arm, count] of counts.entries()) {
    const share = (weights[arm] ?? 0) / total;
    if (!(share > 0)) {
      if (count > 0) return 0;
      continue;
    }
    const prior = concentration * share;
    log += logGamma(prior + count) - logGamma(prior) - count * Math.log(share);
  }
  return Math.min(1, Math.exp(-log));
}
