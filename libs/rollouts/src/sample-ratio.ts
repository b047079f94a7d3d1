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
