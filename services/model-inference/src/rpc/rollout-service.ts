import { rollouts as contract } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import {
  type Decision,
  defaultPlan,
  type Evidence,
  type Guardrail,
  type PairTally,
  pairFigures,
  planMessage,
  type RolloutPlan,
  shadowShareOf,
  shareOf,
} from '@millrace/rollouts';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { RolloutRecord } from '../app/rollout-record.ts';
import type { Rollouts } from '../app/rollouts.ts';

/** Starts, shows and controls rollouts. */
export function rolloutService(rollouts: Rollouts): ServiceBinding {
  return bindService(contract.RolloutServiceService, {
    startRollout: async ({ deployment, model, modelVersion, plan, by }) => {
      const record = await rollouts.start({ deployment, model, modelVersion, plan: planOf(plan), by: by || 'unknown' });
      return { rollout: toWire(record, rollouts) };
    },
    getRollout: ({ deployment }) => ({ rollout: toWire(rollouts.find(deployment), rollouts) }),
    controlRollout: async ({ deployment, action, by, reason }) => {
      const record = await rollouts.control(deployment, action, by || 'unknown', reason);
      return { rollout: toWire(record, rollouts) };
    },
  });
}

function planOf(plan: contract.RolloutPlan | undefined): RolloutPlan {
  if (!plan) return defaultPlan;
  return {
    steps: plan.steps,
    guardrails: plan.guardrails.map(guardrailOf),
    alpha: plan.alpha,
    beta: plan.beta,
    rollbackMinRequests: plan.rollbackMinRequests,
    kill: { share: plan.killShare, requests: plan.killRequests },
    maxSeconds: plan.maxSeconds,
  };
}

function guardrailOf({ kind, limit, weight, threshold, ...rate }: contract.RolloutGuardrail): Guardrail {
  const { tolerance, margin, negligible } = rate;
  switch (kind) {
    case 'errors':
    case 'latency':
    case 'not_finite':
      return { kind, tolerance, margin, negligible, weight };
    case 'score_shift':
    case 'disagreement':
    case 'quality':
      return { kind, limit, weight, threshold: kind === 'disagreement' ? threshold : undefined };
    default:
      throw new MeshError(
        'INVALID_ARGUMENT',
        `"${kind}" is no guardrail; guardrails: errors, latency, not_finite, score_shift, disagreement, quality`,
        { guardrail: kind },
      );
  }
}

function toWire(record: RolloutRecord, rollouts: Rollouts): contract.Rollout {
  const isOpen = record.status === 'running' || record.status === 'paused';
  const { plan } = record;
  const now = rollouts.now(record);
  return {
    id: record.id,
    deployment: record.deployment,
    model: record.model,
    modelVersion: record.modelVersion,
    status: record.status,
    share: isOpen ? shareOf(plan, record.progress) : record.status === 'promoted' ? 1 : 0,
    plan: planMessage(plan),
    promotedAlias: record.status === 'promoted' ? (record.promotedAlias ?? '') : '',
    shadowShare: isOpen ? shadowShareOf(plan, record.progress) : 0,
    shadow: shadowToWire(record.pairs),
    decisions: record.decisions.map(({ decidedUs, by, action, reason, decision }) => ({
      ...decisionToWire(decision),
      decidedUs: BigInt(decidedUs),
      by,
      action,
      reason,
    })),
    now: isOpen ? decisionToWire(now) : undefined,
  };
}

function shadowToWire(tally: PairTally | undefined): contract.RolloutShadow | undefined {
  if (!tally || tally.calls + tally.failed + tally.dropped === 0) return undefined;
  return {
    ...pairFigures(tally),
    pairs: tally.pairs,
    disagreed: tally.disagreed,
    onlyCandidate: tally.onlyCanary,
    onlyStable: tally.onlyStable,
    candidateMs: tally.canaryMs / tally.calls,
    stableMs: tally.stableMs / tally.calls,
    failed: tally.failed,
    dropped: tally.dropped,
  };
}

function decisionToWire(decision: Decision): contract.RolloutDecision {
  return {
    decidedUs: 0n,
    by: 'evidence',
    action: decision.action,
    reason: decision.reason,
    step: decision.step,
    requests: decision.requests,
    seconds: decision.seconds,
    sampleRatioP: decision.sampleRatioP,
    evidence: decision.evidence.map(evidenceToWire),
  };
}

function evidenceToWire({ guardrail, verdict, canary, stable, pWorse, pGood, alpha, beta }: Evidence) {
  const losses = {
    canaryLosses: { count: canary.losses.count, mean: canary.losses.mean },
    stableLosses: { count: stable.losses.count, mean: stable.losses.mean },
  };
  return { guardrail, verdict, canary: canary.rate, stable: stable.rate, ...losses, pWorse, pGood, alpha, beta };
}
