import { MeshError } from '@millrace/kernel';
import { lossMax } from './statistics/bets.ts';

/** Of requests that failed, were slower than the stable arm's 95 % or the SLO, or whose score is NaN or infinite. */
export interface RateGuardrail {
  readonly kind: 'errors' | 'latency' | 'not_finite';
  /** Odds ratios of canary to stable up to this are no regression. */
  readonly tolerance: number;
  /** A canary is good once its odds ratio is shown to be below this, */
  readonly margin: number;
  /** or its rate below this. */
  readonly negligible: number;
  /** Its part of alpha, relative to the other guardrails'. */
  readonly weight: number;
}

/** Of the Kolmogorov–Smirnov distance of scores, the share of disagreement of a shadow, or the canary's mean loss less the stable arm's. */
export interface LimitGuardrail {
  readonly kind: 'score_shift' | 'disagreement' | 'quality';
  /** Up to this is no regression; good once shown to be below it. */
  readonly limit: number;
  /** Of disagreement: scores on different sides of it disagree; `defaultThreshold` unless given. */
  readonly threshold?: number | undefined;
  readonly weight: number;
}

export type Guardrail = RateGuardrail | LimitGuardrail;
export type GuardrailKind = Guardrail['kind'];

export interface PlanStep {
  /** The canary's share of traffic; 0: it only shadows. */
  readonly share: number;
  /** The share of the other traffic that is sent to the canary as well, and answered without it. */
  readonly shadow: number;
  readonly minSeconds: number;
  /** The canary's requests in this step, or the pairs of a shadow. */
  readonly minRequests: number;
}

export interface RolloutPlan {
  readonly steps: readonly PlanStep[];
  readonly guardrails: readonly Guardrail[];
  /** The chance that a canary as good as the stable arm is ever rolled back by evidence. */
  readonly alpha: number;
  /** The chance that a canary beyond a guardrail's margin is ever found good. */
  readonly beta: number;
  /** Evidence counts from so many requests of the canary. */
  readonly rollbackMinRequests: number;
  /** So large a share of failures among the canary's last so many requests rolls back at once. */
  readonly kill: { readonly share: number; readonly requests: number };
  /** After this a rollout without a verdict waits for a person. */
  readonly maxSeconds: number;
}

/** Below this the split of units is not what the plan says, and no conclusion is drawn. */
export const sampleRatioAlpha = 0.001;

export const defaultThreshold = 0.5;

export const defaultPlan: RolloutPlan = {
  steps: [
    { share: 0.05, shadow: 0, minSeconds: 30, minRequests: 100 },
    { share: 0.25, shadow: 0, minSeconds: 60, minRequests: 500 },
    { share: 0.5, shadow: 0, minSeconds: 60, minRequests: 1_000 },
  ],
  guardrails: [
    { kind: 'errors', tolerance: 1, margin: 2, negligible: 0.001, weight: 4 },
    { kind: 'latency', tolerance: 1.2, margin: 3, negligible: 0.001, weight: 2 },
    { kind: 'not_finite', tolerance: 1, margin: 2, negligible: 0.001, weight: 1 },
    { kind: 'score_shift', limit: 0.1, weight: 1 },
  ],
  alpha: 0.01,
  beta: 0.05,
  rollbackMinRequests: 100,
  kill: { share: 0.5, requests: 20 },
  maxSeconds: 86_400,
};

/** What a plan must be; INVALID_ARGUMENT names the field, what it is and what it may be. */
export function checkPlan(plan: RolloutPlan): RolloutPlan {
  need(plan.steps.length >= 1 && plan.steps.length <= 32, 'steps', plan.steps.length, 'have 1 to 32');
  need(
    plan.guardrails.length >= 1 && plan.guardrails.length <= 16,
    'guardrails',
    plan.guardrails.length,
    'have 1 to 16',
  );
  need(plan.alpha > 0 && plan.alpha < 0.5, 'alpha', plan.alpha, 'lie between 0 and 0.5');
  need(plan.beta > 0 && plan.beta < 0.5, 'beta', plan.beta, 'lie between 0 and 0.5');
  need(plan.kill.share > 0 && plan.kill.share <= 1, 'kill.share', plan.kill.share, 'lie in (0, 1]');
  need(plan.kill.requests >= 5, 'kill.requests', plan.kill.requests, 'be 5 or more');
  need(plan.rollbackMinRequests >= 0, 'rollback_min_requests', plan.rollbackMinRequests, 'not be negative');
  need(plan.maxSeconds > 0, 'max_seconds', plan.maxSeconds, 'be positive');
  let before = 0;
  for (const [at, { share, shadow, minSeconds, minRequests }] of plan.steps.entries()) {
    need(
      share >= before && share <= 0.99,
      `steps[${at}].share`,
      share,
      `lie between ${before} and 0.99, as shares only grow`,
    );
    need(shadow >= 0 && shadow <= 1, `steps[${at}].shadow`, shadow, 'lie between 0 and 1');
    need(share > 0 || shadow > 0, `steps[${at}].share`, share, 'be above 0 where the step has no shadow');
    need(minSeconds >= 0, `steps[${at}].min_seconds`, minSeconds, 'not be negative');
    need(minRequests >= 0, `steps[${at}].min_requests`, minRequests, 'not be negative');
    before = share;
  }
  const kinds = new Set<GuardrailKind>();
  for (const guardrail of plan.guardrails) {
    need(!kinds.has(guardrail.kind), `guardrail "${guardrail.kind}"`, 'given twice', 'be given once');
    kinds.add(guardrail.kind);
    checkGuardrail(guardrail);
    const isBlind = guardrail.kind === 'disagreement' && !plan.steps.some(({ shadow }) => shadow > 0);
    need(
      !isBlind,
      `guardrail "${guardrail.kind}"`,
      'without a step that shadows',
      'have one: steps: [{ shadow: 0.1, … }, …]',
    );
  }
  return plan;
}

/** A plan as `millrace.inference.v1.RolloutPlan` has it: what a guardrail does not have is 0. */
export function planMessage(plan: RolloutPlan) {
  return {
    steps: [...plan.steps],
    guardrails: plan.guardrails.map((guardrail) => ({
      tolerance: 0,
      margin: 0,
      negligible: 0,
      limit: 0,
      threshold: undefined,
      ...guardrail,
    })),
    alpha: plan.alpha,
    beta: plan.beta,
    rollbackMinRequests: plan.rollbackMinRequests,
    killShare: plan.kill.share,
    killRequests: plan.kill.requests,
    maxSeconds: plan.maxSeconds,
  };
}

function checkGuardrail(guardrail: Guardrail): void {
  const field = (name: string) => `guardrail "${guardrail.kind}": ${name}`;
  need(guardrail.weight > 0, field('weight'), guardrail.weight, 'be positive');
  if ('limit' in guardrail) {
    // a distance and a share lie below 1, a loss below the largest that there is
    const below = guardrail.kind === 'quality' ? lossMax : 1;
    need(guardrail.limit > 0 && guardrail.limit < below, field('limit'), guardrail.limit, `lie between 0 and ${below}`);
    return;
  }
  const { tolerance, margin, negligible } = guardrail;
  need(tolerance >= 1, field('tolerance'), tolerance, 'be an odds ratio of 1 or more');
  need(margin > tolerance, field('margin'), margin, `be larger than the tolerance of ${tolerance}`);
  need(negligible >= 0 && negligible < 1, field('negligible'), negligible, 'lie in [0, 1)');
}

function need(holds: boolean, field: string, given: number | string, must: string): void {
  if (!holds)
    throw new MeshError('INVALID_ARGUMENT', `the rollout's ${field} is ${given}; it must ${must}`, { field, given });
}
