import { expect, test } from 'vitest';
import { defaultPlan, type RolloutPlan } from '../plan.ts';
import { createRandom } from './random.ts';
import { simulate } from './simulate.ts';
import { type LoggedPrediction, loggedTraffic, type Regression, syntheticTraffic } from './traffic.ts';

const healthy: Regression = { stableErrorRate: 0.005, canaryErrorRate: 0.005, slowdown: 1, scoreShift: 0 };
const plan: RolloutPlan = { ...defaultPlan, steps: [{ share: 0.1, shadow: 0, minSeconds: 1e6, minRequests: 0 }] };
const play = (regression: Regression, rule: 'millrace' | 'argo-like' | 'flagger-like' | 'naive-z', runs = 40) =>
  simulate(plan, syntheticTraffic(200, 900, regression), { rule, runs, seed: 1 });

test('regressions are found sooner than by windows, and healthy canaries stay', () => {
  expect(play(healthy, 'millrace', 100).rolledBack).toBeLessThanOrEqual(0.03);
  for (const [canaryErrorRate, withinS] of [
    [0.1, 90],
    [0.01, 300],
  ] as const) {
    const ours = play({ ...healthy, canaryErrorRate }, 'millrace').detectSP50;
    expect(ours).toBeLessThan(withinS);
    expect(ours).toBeLessThan(play({ ...healthy, canaryErrorRate }, 'argo-like').detectSP50);
    expect(ours).toBeLessThan(play({ ...healthy, canaryErrorRate }, 'flagger-like').detectSP50);
  }
  // fourth and fifth failed window of a minute
  expect(play({ ...healthy, canaryErrorRate: 0.1 }, 'argo-like').detectSP50).toBe(240);
  expect(play({ ...healthy, canaryErrorRate: 0.1 }, 'flagger-like').detectSP50).toBe(300);
});

test('slower answers and other scores are found', () => {
  expect(play({ ...healthy, slowdown: 1.5 }, 'millrace').detectSP90).toBeLessThan(60);
  expect(play({ ...healthy, scoreShift: 0.1 }, 'millrace').detectSP90).toBeLessThan(200);
});

test('with outcomes, equal models are not rolled back for their losses, and a noisier one is', () => {
  const guarded: RolloutPlan = { ...plan, guardrails: [{ kind: 'quality', limit: 0.05, weight: 1 }] };
  const quality = (scoreNoise: number) =>
    simulate(guarded, syntheticTraffic(50, 300, { ...healthy, labels: { positiveRate: 0.05, scoreNoise } }), {
      rule: 'millrace',
      runs: 100,
      seed: 3,
    });
  expect(quality(0).rolledBack).toBeLessThanOrEqual(0.03);
  expect(quality(3).detectSP90).toBeLessThan(300);
});

test('the same seed plays the same rollouts', () => {
  const regression = { ...healthy, canaryErrorRate: 0.02 };
  expect(play(regression, 'millrace')).toEqual(play(regression, 'millrace'));
});

test('a log is replayed at its own pace and rate of errors', () => {
  const random = createRandom(9);
  const log: LoggedPrediction[] = Array.from({ length: 20_000 }, (_, at) => ({
    predictedUs: at * 5_000,
    score: random.unit(),
    latencyMs: 20 * Math.exp(0.5 * random.normal()),
    isError: random.unit() < 0.005,
  }));
  const run = (regression: Regression, runs: number) =>
    simulate(plan, loggedTraffic(log, 300, regression), { rule: 'millrace', runs, seed: 2 });
  const next = loggedTraffic(log, 50, healthy)(createRandom(1));
  let [requests, errors] = [0, 0];
  for (let slice = next(0.1); slice; slice = next(0.1)) {
    requests += slice.canary.errors.trials + slice.stable.errors.trials;
    errors += slice.canary.errors.hits + slice.stable.errors.hits;
  }
  expect(requests).toBe(10_000);
  expect(errors / requests).toBeLessThan(0.01);
  expect(run(healthy, 20).rolledBack).toBeLessThanOrEqual(0.05);
  expect(run({ ...healthy, canaryErrorRate: 0.05 }, 20).detectSP90).toBeLessThan(90);
  expect(run({ ...healthy, slowdown: 2 }, 20).detectSP90).toBeLessThan(30);
});

test('draws have their means', () => {
  const random = createRandom(4);
  let [poisson, binomial] = [0, 0];
  for (let at = 0; at < 20_000; at++) {
    poisson += random.poisson(3);
    binomial += random.binomial(10, 0.3);
  }
  expect(Math.abs(poisson / 20_000 - 3)).toBeLessThan(0.05);
  expect(Math.abs(binomial / 20_000 - 3)).toBeLessThan(0.05);
});
