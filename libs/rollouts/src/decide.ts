import { addToGuardrail, type GuardrailState, startGuardrail, type Tally } from './guardrail.ts';
import { type Guardrail, type GuardrailKind, type RolloutPlan, sampleRatioAlpha } from './plan.ts';
import { addRatio, type RatioState, startRatio } from './sample-ratio.ts';
import { addCounts, noCount, type Slice } from './slice.ts';
import { holm, splitAlpha } from './statistics/alpha.ts';
import type { RateCount } from './statistics/rate-ratio.ts';

/** All that a rollout has learnt: plain data. */
export interface Progress {
  readonly step: number;
  readonly startedUs: number;
  readonly stepStartedUs: number;
  /** Of the canary in this step. */
  readonly stepRequests: number;
  readonly requests: number;
  readonly guardrails: readonly GuardrailState[];
  /** The canary's newest slices with as many requests as the kill switch looks at. */
  readonly recent: readonly RateCount[];
  readonly ratio: RatioState;
}

export type Action = 'hold' | 'advance' | 'promote' | 'rollback';
export type DecisionReason =
  | 'KILL_SWITCH'
  | 'GUARDRAIL_VIOLATED'
  | 'SAMPLE_RATIO_MISMATCH'
  | 'EXPOSURE'
  | 'STEP_DONE'
  | 'EVIDENCE_MISSING'
  | 'TIME_IS_UP'
  | 'ALL_GUARDRAILS_PASSED';

/** What a guardrail says, with the numbers that it rests on. */
export interface Evidence {
  readonly guardrail: GuardrailKind;
  readonly verdict: 'violated' | 'passed' | 'open';
  readonly canary: Tally;
  readonly stable: Tally;
  /** Always-valid p-values: at most so likely at any time of looking if the canary were no worse, */
  readonly pWorse: number;
  /** or if it were beyond the margin. */
  readonly pGood: number;
  /** Its part of alpha. */
  readonly alpha: number;
  readonly beta: number;
}

export interface Decision {
  readonly action: Action;
  readonly reason: DecisionReason;
  readonly step: number;
  readonly stepRequests: number;
  readonly requests: number;
  readonly seconds: number;
  readonly evidence: readonly Evidence[];
  readonly sampleRatioP: number;
}

export function startProgress(plan: RolloutPlan, nowUs: number): Progress {
  return {
    step: 0,
    startedUs: nowUs,
    stepStartedUs: nowUs,
    stepRequests: 0,
    requests: 0,
    guardrails: plan.guardrails.map(() => startGuardrail()),
    recent: [],
    ratio: startRatio(),
  };
}

export function observe(plan: RolloutPlan, progress: Progress, slice: Slice): Progress {
  const { trials: requests } = slice.canary.errors;
  const exposed = requests + slice.pairs.trials;
  return {
    ...progress,
    stepRequests: progress.stepRequests + exposed,
    requests: progress.requests + exposed,
    guardrails: plan.guardrails.map((guardrail, index) =>
      addToGuardrail(guardrail, progress.guardrails[index] ?? startGuardrail(), slice),
    ),
    recent: recentOf(progress.recent, slice, plan.kill.requests),
    ratio: addRatio(progress.ratio, shareOf(plan, progress), slice.canary.units, slice.stable.units),
  };
}

/** At the next step; evidence goes on, the check of the split begins anew. */
export function advance(progress: Progress, nowUs: number): Progress {
  return { ...progress, step: progress.step + 1, stepStartedUs: nowUs, stepRequests: 0, ratio: startRatio() };
}

/** What to do now, and why. Looking often costs nothing: every test holds at all times at once. */
export function decide(plan: RolloutPlan, progress: Progress, nowUs: number): Decision {
  const evidence = evidenceOf(plan, progress);
  const say = (action: Action, reason: DecisionReason): Decision => ({
    action,
    reason,
    step: progress.step,
    stepRequests: progress.stepRequests,
    requests: progress.requests,
    seconds: (nowUs - progress.startedUs) / 1e6,
    evidence,
    sampleRatioP: progress.ratio.p,
  });
  if (isKilled(plan, progress)) return say('rollback', 'KILL_SWITCH');
  if (progress.ratio.p < sampleRatioAlpha) return say('hold', 'SAMPLE_RATIO_MISMATCH');
  const isViolated = evidence.some(({ verdict }) => verdict === 'violated');
  if (isViolated && progress.requests >= plan.rollbackMinRequests) return say('rollback', 'GUARDRAIL_VIOLATED');
  const step = plan.steps[progress.step];
  const stepS = (nowUs - progress.stepStartedUs) / 1e6;
  if (step && (stepS < step.minSeconds || progress.stepRequests < step.minRequests)) return say('hold', 'EXPOSURE');
  if (progress.step < plan.steps.length - 1) return say('advance', 'STEP_DONE');
  if (evidence.every(({ verdict }) => verdict === 'passed')) return say('promote', 'ALL_GUARDRAILS_PASSED');
  const isOver = nowUs - progress.startedUs > plan.maxSeconds * 1e6;
  return say('hold', isOver ? 'TIME_IS_UP' : 'EVIDENCE_MISSING');
}

export function shareOf(plan: RolloutPlan, { step }: Pick<Progress, 'step'>): number {
  return plan.steps[step]?.share ?? 0;
}

export function shadowShareOf(plan: RolloutPlan, { step }: Pick<Progress, 'step'>): number {
  return plan.steps[step]?.shadow ?? 0;
}

function evidenceOf(plan: RolloutPlan, { guardrails }: Progress): Evidence[] {
  const weights = plan.guardrails.map(({ weight }) => weight);
  const alphas = splitAlpha(plan.alpha, weights);
  const pWorse = guardrails.map(({ peakWorse }) => Math.min(1, Math.exp(-peakWorse)));
  const violated = holm(pWorse, plan.alpha, weights);
  return plan.guardrails.map(({ kind }: Guardrail, index) => {
    const state = guardrails[index] ?? startGuardrail();
    const pGood = Math.min(1, Math.exp(-state.peakGood));
    return {
      guardrail: kind,
      verdict: violated[index] ? 'violated' : pGood <= plan.beta ? 'passed' : 'open',
      canary: state.canary,
      stable: state.stable,
      pWorse: pWorse[index] ?? 1,
      pGood,
      alpha: alphas[index] ?? 0,
      beta: plan.beta,
    };
  });
}

function recentOf(before: readonly RateCount[], { canary }: Slice, requests: number): RateCount[] {
  const failed = Math.min(canary.errors.trials, canary.errors.hits + canary.notFinite.hits);
  const recent = [...before, { trials: canary.errors.trials, hits: failed }];
  let total = recent.reduce((sum, { trials }) => sum + trials, 0);
  while (recent.length > 1 && total - (recent[0]?.trials ?? 0) >= requests) total -= recent.shift()?.trials ?? 0;
  return recent;
}

function isKilled({ kill }: RolloutPlan, { recent }: Progress): boolean {
  const { trials, hits } = recent.reduce(addCounts, noCount);
  return trials >= kill.requests && hits >= kill.share * trials;
}
