import { decide, defaultPlan, startProgress } from '@millrace/rollouts';
import { expect, test } from 'vitest';
import { rolloutAlert } from './rollout-alert.ts';
import type { AuditedDecision } from './rollout-record.ts';

const decision = decide(defaultPlan, startProgress(defaultPlan, 0), 1);
const audited = (more: Partial<AuditedDecision>): AuditedDecision => ({
  ...{ rollout: 'r', deployment: 'd', model: 'm', modelVersion: 'v', decidedUs: 1 },
  ...{ by: 'evidence', action: 'hold', reason: 'EVIDENCE_MISSING', decision },
  ...more,
});

test('people hear of what needs them or was done in their place, and of nothing else', () => {
  const message = (more: Partial<AuditedDecision>) => rolloutAlert(audited(more))?.message;
  expect(message({ action: 'rollback', reason: 'KILL_SWITCH' })).toMatch(
    /was rolled back after 0 requests, KILL_SWITCH/,
  );
  expect(message({ reason: 'SAMPLE_RATIO_MISMATCH' })).toMatch(/units do not split as the rollout says \(p 1.0\)/);
  expect(message({ reason: 'TIME_IS_UP' })).toMatch(/waits for a person/);
  for (const quiet of [{}, { action: 'advance' }, { action: 'promote' }, { action: 'rollback', by: 'ada' }] as const)
    expect(message(quiet)).toBeUndefined();
});
