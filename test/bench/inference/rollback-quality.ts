import {
  defaultPlan,
  type Regression,
  type RolloutPlan,
  ruleNames,
  simulate,
  syntheticTraffic,
} from '@millrace/rollouts';
import type { BenchCases, BenchContext } from '../bench.ts';

const requestsPerS = 200;
const share = 0.1;
const watchedS = 3_600;
const peerRuns = 100;
const healthy: Regression = { stableErrorRate: 0.005, canaryErrorRate: 0.005, slowdown: 1, scoreShift: 0 };
const regressions: Readonly<Record<string, Regression>> = {
  error_1: { ...healthy, canaryErrorRate: 0.01 },
  error_1_5: { ...healthy, canaryErrorRate: 0.015 },
  error_3: { ...healthy, canaryErrorRate: 0.03 },
  error_10: { ...healthy, canaryErrorRate: 0.1 },
  latency_20: { ...healthy, slowdown: 1.2 },
  latency_50: { ...healthy, slowdown: 1.5 },
  latency_100: { ...healthy, slowdown: 2 },
  score_0_05: { ...healthy, scoreShift: 0.05 },
  score_0_1: { ...healthy, scoreShift: 0.1 },
};

/** All guardrails, one step that never ends: an hour under watch. A shift of scores by a quarter of their deviation is a distance of 0.1. */
const plan: RolloutPlan = {
  ...defaultPlan,
  steps: [{ share, shadow: 0, minSeconds: 2 * watchedS, minRequests: 0 }],
  guardrails: defaultPlan.guardrails.map((guardrail) =>
    guardrail.kind === 'score_shift' ? { ...guardrail, limit: 0.05 } : guardrail,
  ),
  maxSeconds: 2 * watchedS,
};

/**
 * Stable 180 and canary 20 requests/s, 0.5 % errors, an hour. `false_rollback`: the share of healthy canaries rolled back; `detect_s`: the
 * median until a canary with 1 % errors is rolled back, and by rule and regression `<rule>.<regression>_s`; −1 where fewer than half are.
 */
export function measureRollbackQuality({ number, progress, signal }: BenchContext): BenchCases {
  const play = (rule: (typeof ruleNames)[number], regression: Regression, runs: number) =>
    simulate(plan, syntheticTraffic(requestsPerS, watchedS, regression), { rule, runs, seed: 1 });
  const cases: Record<string, Record<string, number>> = {};
  for (const rule of ruleNames) {
    signal.throwIfAborted();
    progress(`B11 ${rule}: healthy canaries`);
    const figures: Record<string, number> = {
      false_rollback: play(rule, healthy, rule === 'millrace' ? number('runs') : peerRuns).rolledBack,
    };
    for (const [name, regression] of Object.entries(regressions)) {
      const { detectSP50 } = play(rule, regression, peerRuns);
      figures[`${name}_s`] = Number.isFinite(detectSP50) ? detectSP50 : -1;
    }
    if (rule === 'millrace') cases.B11 = { ...figures, detect_s: figures.error_1_s ?? -1 };
    else cases[`B11 ${rule}`] = figures;
  }
  return cases;
}
