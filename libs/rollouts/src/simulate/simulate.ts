import type { RolloutPlan } from '../plan.ts';
import { createRandom } from './random.ts';
import { type RuleName, ruleFor } from './rules.ts';
import type { Traffic } from './traffic.ts';

export interface SimulationResult {
  readonly rule: RuleName;
  readonly runs: number;
  /** Shares of runs; what remains was undecided at the end. */
  readonly rolledBack: number;
  readonly promoted: number;
  /** Seconds until the rollback: of the half, and of nine tenths of all runs; infinite when fewer are rolled back. */
  readonly detectSP50: number;
  readonly detectSP90: number;
}

/** Plays the plan on `runs` draws of the traffic; the same seeds for every rule. */
export function simulate(
  plan: RolloutPlan,
  traffic: Traffic,
  options: { readonly rule: RuleName; readonly runs: number; readonly seed: number },
): SimulationResult {
  const detected: number[] = [];
  let promoted = 0;
  for (let run = 0; run < options.runs; run++) {
    const rule = ruleFor(options.rule, plan);
    const next = traffic(createRandom(options.seed * 1_000_003 + run));
    let second = 0;
    for (let slice = next(rule.share()); slice; slice = next(rule.share())) {
      const outcome = rule.see(slice, ++second);
      if (outcome === undefined) continue;
      if (outcome === 'rollback') detected.push(second);
      else promoted++;
      break;
    }
  }
  detected.sort((a, b) => a - b);
  const at = (share: number) => detected[Math.ceil(share * options.runs) - 1] ?? Number.POSITIVE_INFINITY;
  return {
    rule: options.rule,
    runs: options.runs,
    rolledBack: detected.length / options.runs,
    promoted: promoted / options.runs,
    detectSP50: at(0.5),
    detectSP90: at(0.9),
  };
}
