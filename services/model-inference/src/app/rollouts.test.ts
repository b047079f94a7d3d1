import type { RolloutPlan } from '@millrace/rollouts';
import { expect, test } from 'vitest';
import type { Judged } from './outcomes.ts';
import type { RolloutRecord } from './rollout-record.ts';
import { createRollouts, type RolloutDeps } from './rollouts.ts';

const plan: RolloutPlan = {
  steps: [{ share: 0.5, shadow: 0, minSeconds: 0, minRequests: 0 }],
  guardrails: [{ kind: 'quality', limit: 0.02, weight: 1 }],
  alpha: 0.01,
  beta: 0.05,
  rollbackMinRequests: 0,
  kill: { share: 0.5, requests: 20 },
  maxSeconds: 600,
};
const asked = { deployment: 'd', model: 'new', modelVersion: '2', plan, by: 'ada' };
const startedUs = 1_000_000;

function world(without = '') {
  const kept = new Map<string, RolloutRecord>();
  const deps: RolloutDeps = {
    store: {
      load: async () => [...kept.values()],
      put: async (record) => void kept.set(record.deployment, structuredClone(record)),
      audit: async () => undefined,
    },
    deploymentVersion: () => 'v1',
    readyVersion: (_model, version) => version,
    isTarget: (_deployment, model) => model === 'old',
    targetsOf: () => ['old'],
    hasOutcome: (model) => model !== without,
    nowUs: () => startedUs,
    moveAlias: async () => undefined,
    moveAliasBack: async () => undefined,
    raise: async () => undefined,
    onShadow: () => undefined,
    onProblem: (_event, error) => {
      throw error;
    },
  };
  return () => createRollouts(deps);
}

const judged = (outcomeSeq: number, more: Partial<Judged> = {}): Judged => ({
  deployment: 'd',
  model: 'new',
  modelVersion: '2',
  predictedUs: startedUs,
  loss: 0.5,
  outcomeSeq,
  ...more,
});
const losses = (record: RolloutRecord) => {
  const [state] = record.progress.guardrails;
  return [state?.canary.losses.count, state?.stable.losses.count];
};

test('outcomes of predictions since the start count for their arm, once, through a restart', async () => {
  const open = world();
  const rollouts = await open();
  await rollouts.start(asked);
  rollouts.judged(judged(1));
  rollouts.judged(judged(1));
  rollouts.judged(judged(1, { model: 'old', modelVersion: '1' }));
  rollouts.judged(judged(1, { predictedUs: startedUs - 1 }));
  rollouts.judged(judged(1, { deployment: 'other' }));
  await rollouts.tick();
  expect(losses(rollouts.find('d'))).toEqual([2, 1]);
  await rollouts.control('d', 'pause', 'ada', '');

  const restarted = await open();
  for (const seq of [1, 1, 1, 2]) restarted.judged(judged(seq));
  await restarted.tick();
  expect(losses(restarted.find('d'))).toEqual([3, 1]);
});

test('quality without outcomes is refused, of the candidate and of what serves', async () => {
  for (const without of ['new', 'old']) {
    const rollouts = await world(without)();
    await expect(rollouts.start(asked)).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
      message: expect.stringContaining(`"${without}" says nothing`),
    });
  }
});
