import { defaultPlan } from '@millrace/rollouts';
import { expect, test } from 'vitest';
import { rolloutPlan } from './rollout-plan.ts';

test('what a plan leaves out is the default plan’s', () => {
  expect(rolloutPlan('', 'p.yaml')).toEqual(defaultPlan);
  const plan = rolloutPlan(
    'steps: [{share: 0.1, shadow: 0, min_seconds: 30}]\nguardrails: {latency: {}, quality: {limit: 0.02}}',
    'p.yaml',
  );
  expect(plan.steps).toEqual([{ share: 0.1, shadow: 0, minSeconds: 30, minRequests: 0 }]);
  expect(plan.guardrails).toEqual([
    { kind: 'latency', tolerance: 1.2, margin: 3, negligible: 0.001, weight: 1 },
    { kind: 'quality', limit: 0.02, weight: 1 },
  ]);
});

test('what cannot be is refused by file and field', () => {
  expect(() => rolloutPlan('step: []', 'p.yaml')).toThrow(/p\.yaml.*step/);
  expect(() => rolloutPlan('steps: [', 'p.yaml')).toThrow(/p\.yaml/);
  expect(() => rolloutPlan('guardrails: {errors: {margin: 0.5}}', 'p.yaml')).toThrow(/margin is 0.5/);
  expect(() => rolloutPlan('steps: [{share: 0.5}, {share: 0.1}]', 'p.yaml')).toThrow(/steps\[1\]\.share/);
});
