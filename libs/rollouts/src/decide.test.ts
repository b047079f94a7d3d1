import { MeshError } from '@millrace/kernel';
import { expect, test } from 'vitest';
import { advance, decide, observe, type Progress, startProgress } from './decide.ts';
import { checkPlan, defaultPlan, type RolloutPlan } from './plan.ts';
import { createRandom, type Random } from './simulate/random.ts';
import { type ArmCounts, noCount, noCounts, type Slice } from './slice.ts';

const plan: RolloutPlan = checkPlan({
  ...defaultPlan,
  steps: [
    { share: 0.1, shadow: 0, minSeconds: 20, minRequests: 200 },
    { share: 0.5, shadow: 0, minSeconds: 20, minRequests: 500 },
  ],
});

function arm(random: Random, requests: number, errorRate: number, shift = 0): ArmCounts {
  const bins = new Array<number>(10).fill(0);
  const errors = random.binomial(requests, errorRate);
  for (let at = errors; at < requests; at++) {
    const score = Math.min(9, Math.max(0, Math.floor(5 + 2 * random.normal() + shift)));
    bins[score] = (bins[score] ?? 0) + 1;
  }
  return {
    ...noCounts,
    errors: { trials: requests, hits: errors },
    latency: { trials: requests, hits: random.binomial(requests, 0.05) },
    notFinite: { trials: requests - errors, hits: 0 },
    scoreBins: bins,
    units: requests,
  };
}

/** Plays until a verdict, or for an hour; what happened and after how many seconds. */
function play(seed: number, canaryErrors: number, shift = 0, shareOfTraffic = 1) {
  const random = createRandom(seed);
  let progress = startProgress(plan, 0);
  for (let second = 1; second <= 3_600; second++) {
    const canary = random.binomial(200, (plan.steps[progress.step]?.share ?? 0) * shareOfTraffic);
    const slice: Slice = {
      canary: arm(random, canary, canaryErrors, shift),
      stable: arm(random, 200 - canary, 0.005),
      pairs: noCount,
      lossDifferences: [],
    };
    progress = observe(plan, progress, slice);
    const decision = decide(plan, progress, second * 1e6);
    if (decision.action === 'advance') progress = advance(progress, second * 1e6);
    else if (decision.action !== 'hold') return { second, decision };
  }
  return { second: 3_600, decision: decide(plan, progress, 3_600e6) };
}

test('a canary as good as the stable arm is promoted on evidence, step by step', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { decision } = play(seed, 0.005);
    expect(decision).toMatchObject({ action: 'promote', reason: 'ALL_GUARDRAILS_PASSED', step: 1 });
    expect(decision.evidence.map(({ verdict }) => verdict)).toEqual(plan.guardrails.map(() => 'passed'));
  }
});

test('one that fails more often is rolled back, and the evidence names the guardrail and its numbers', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const { decision, second } = play(seed, 0.05);
    expect(decision).toMatchObject({ action: 'rollback', reason: 'GUARDRAIL_VIOLATED' });
    const errors = decision.evidence.find(({ guardrail }) => guardrail === 'errors');
    expect(errors?.verdict).toBe('violated');
    expect(errors?.pWorse).toBeLessThanOrEqual(errors?.alpha ?? 0);
    expect(errors?.canary.rate.hits).toBeGreaterThan(0);
    expect(second).toBeLessThan(90);
  }
});

test('one whose scores move is rolled back for that', () => {
  const { decision } = play(1, 0.005, 1);
  expect(decision).toMatchObject({ action: 'rollback', reason: 'GUARDRAIL_VIOLATED' });
  expect(decision.evidence.filter(({ verdict }) => verdict === 'violated').map(({ guardrail }) => guardrail)).toEqual([
    'score_shift',
  ]);
});

test('half of twenty requests failing rolls back at once', () => {
  const random = createRandom(1);
  const slice: Slice = {
    canary: arm(random, 20, 0.99),
    stable: arm(random, 180, 0.005),
    pairs: noCount,
    lossDifferences: [],
  };
  expect(decide(plan, observe(plan, startProgress(plan, 0), slice), 100)).toMatchObject({
    action: 'rollback',
    reason: 'KILL_SWITCH',
  });
});

test('a split that is not the plan’s lets nothing be concluded', () => {
  expect(play(1, 0.005, 0, 0.5).decision).toMatchObject({ action: 'hold', reason: 'SAMPLE_RATIO_MISMATCH' });
});

test('without evidence nothing is promoted, however long it takes', () => {
  const long = checkPlan({ ...plan, maxSeconds: 60 });
  const progress: Progress = { ...startProgress(long, 0), step: 1, stepRequests: 1e6 };
  expect(decide(long, progress, 50e6)).toMatchObject({ action: 'hold', reason: 'EVIDENCE_MISSING' });
  expect(decide(long, progress, 61e6)).toMatchObject({ action: 'hold', reason: 'TIME_IS_UP' });
});

test('progress survives JSON', () => {
  const random = createRandom(3);
  let progress = startProgress(plan, 0);
  for (let at = 0; at < 50; at++)
    progress = observe(plan, progress, {
      canary: arm(random, 20, 0.02),
      stable: arm(random, 180, 0.01),
      pairs: noCount,
      lossDifferences: [],
    });
  const copy = JSON.parse(JSON.stringify(progress)) as Progress;
  expect(decide(plan, copy, 1e6)).toEqual(decide(plan, progress, 1e6));
});

test('a plan that cannot be is refused with what it must be', () => {
  const bad: Partial<RolloutPlan>[] = [
    { steps: [] },
    {
      steps: [
        { share: 0.5, shadow: 0, minSeconds: 1, minRequests: 1 },
        { share: 0.1, shadow: 0, minSeconds: 1, minRequests: 1 },
      ],
    },
    { alpha: 0 },
    { kill: { share: 2, requests: 20 } },
    { guardrails: [{ kind: 'errors', tolerance: 2, margin: 2, negligible: 0, weight: 1 }] },
    { guardrails: [{ kind: 'score_shift', limit: 0, weight: 1 }] },
  ];
  for (const part of bad) expect(() => checkPlan({ ...plan, ...part })).toThrow(MeshError);
});
