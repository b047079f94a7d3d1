import { advance, decide, observe, shareOf, startProgress } from '../decide.ts';
import type { RolloutPlan } from '../plan.ts';
import { addCounts, noCount, type Slice } from '../slice.ts';
import type { RateCount } from '../statistics/rate-ratio.ts';

export type Outcome = 'rollback' | 'promote';

/** Something that watches a rollout second by second; the outcome once it has one. */
export interface Rule {
  readonly share: () => number;
  readonly see: (slice: Slice, second: number) => Outcome | undefined;
}

export type RuleName = 'millrace' | 'argo-like' | 'flagger-like' | 'naive-z';
export const ruleNames: readonly RuleName[] = ['millrace', 'argo-like', 'flagger-like', 'naive-z'];

export function ruleFor(name: RuleName, plan: RolloutPlan): Rule {
  switch (name) {
    case 'millrace':
      return millraceRule(plan);
    case 'argo-like':
      // interval 60 s, successCondition result >= 0.99, failureLimit 3: the fourth failed measurement aborts
      return windowRule(plan, 4);
    case 'flagger-like':
      // interval 60 s, request-success-rate >= 99 %, threshold 5
      return windowRule(plan, 5);
    case 'naive-z':
      return naiveRule(plan);
    default:
      throw new TypeError(`no rule ${name satisfies never}`);
  }
}

function millraceRule(plan: RolloutPlan): Rule {
  let progress = startProgress(plan, 0);
  return {
    share: () => shareOf(plan, progress),
    see(slice, second) {
      progress = observe(plan, progress, slice);
      const { action } = decide(plan, progress, second * 1e6);
      if (action === 'advance') progress = advance(progress, second * 1e6);
      return action === 'rollback' || action === 'promote' ? action : undefined;
    },
  };
}

const windowS = 60;

/**
 * Fixed thresholds over fixed windows: 99 % of answers without error and, as both have a check of latency whose limit is set by hand, at most
 * a tenth slower than the stable arm's 95 %. Neither looks at scores. The steps take the time that the plan says.
 */
function windowRule(plan: RolloutPlan, failuresMax: number): Rule {
  const steps = stepper(plan);
  let [errors, latency, failures] = [noCount, noCount, 0];
  const isFailed = ({ trials, hits }: RateCount, share: number) => trials > 0 && hits > share * trials;
  return {
    share: steps.share,
    see({ canary }, second) {
      errors = addCounts(errors, canary.errors);
      latency = addCounts(latency, canary.latency);
      if (second % windowS === 0) {
        if (isFailed(errors, 0.01) || isFailed(latency, 0.1)) failures++;
        [errors, latency] = [noCount, noCount];
      }
      return failures >= failuresMax ? 'rollback' : steps.see(canary.errors.trials, second);
    },
  };
}

/** The textbook's two-proportion z test at p < 0.05 with five errors, looked at each second: what not to do. */
function naiveRule(plan: RolloutPlan): Rule {
  const steps = stepper(plan);
  let [canary, stable] = [noCount, noCount];
  return {
    share: steps.share,
    see(slice, second) {
      canary = addCounts(canary, slice.canary.errors);
      stable = addCounts(stable, slice.stable.errors);
      const pooled = (canary.hits + stable.hits) / (canary.trials + stable.trials);
      const error = Math.sqrt(pooled * (1 - pooled) * (1 / canary.trials + 1 / stable.trials));
      const z = (canary.hits / canary.trials - stable.hits / stable.trials) / error;
      return canary.hits >= 5 && z > 1.645 ? 'rollback' : steps.see(slice.canary.errors.trials, second);
    },
  };
}

/** Goes on when time and requests of a step are there, and promotes after the last. */
function stepper({ steps }: RolloutPlan) {
  let [step, since, requests] = [0, 0, 0];
  return {
    share: () => steps[step]?.share ?? 0,
    see(more: number, second: number): Outcome | undefined {
      requests += more;
      const { minSeconds = 0, minRequests = 0 } = steps[step] ?? {};
      if (second - since < minSeconds || requests < minRequests) return undefined;
      if (step === steps.length - 1) return 'promote';
      step++;
      [since, requests] = [second, 0];
      return undefined;
    },
  };
}
