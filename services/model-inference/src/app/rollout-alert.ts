import type { AuditedDecision } from './rollout-record.ts';

/** What people must hear of: a rollback by evidence, units that split wrongly, a rollout that waits for a person. */
export function rolloutAlert({
  rollout,
  deployment,
  model,
  modelVersion,
  by,
  action,
  reason,
  decision,
}: AuditedDecision) {
  if (by !== 'evidence') return undefined;
  const message = messageOf();
  return message === undefined
    ? undefined
    : {
        kind: 'rollout',
        dedupKey: `rollout/${deployment}/${rollout}/${reason}`,
        message: `deployment "${deployment}": ${message}; see: millrace rollout status ${deployment}`,
        isOver: false,
      };

  function messageOf(): string | undefined {
    const candidate = `candidate "${model}" of version "${modelVersion}"`;
    if (action === 'rollback') return `${candidate} was rolled back after ${decision.requests} requests, ${whyOf()}`;
    if (action !== 'hold') return undefined;
    if (reason === 'SAMPLE_RATIO_MISMATCH')
      return `units do not split as the rollout says (p ${decision.sampleRatioP.toPrecision(2)}), so nothing is concluded about ${candidate}; roll back and find out why`;
    if (reason === 'TIME_IS_UP')
      return `the rollout of ${candidate} has no verdict in its time and waits for a person: promote or roll back`;
    return undefined;
  }

  function whyOf(): string {
    const violated = decision.evidence.filter(({ verdict }) => verdict === 'violated');
    const guardrails = violated.map(({ guardrail, pWorse }) => `${guardrail} (p ${pWorse.toPrecision(2)})`).join(', ');
    return guardrails === '' ? reason : `${reason}: ${guardrails}`;
  }
}
