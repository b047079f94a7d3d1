import { MeshError, newId, ReasonCode, toMeshError } from '@millrace/kernel';
import {
  advance,
  bucketOf,
  checkPlan,
  type Decision,
  decide,
  isCanary,
  observe,
  type RolloutPlan,
  shadowShareOf,
  shareOf,
  startProgress,
} from '@millrace/rollouts';
import type { AliasRequest } from './aliases.ts';
import type { Judged } from './outcomes.ts';
import type { RaiseAlert } from './raise-alert.ts';
import { rolloutAlert } from './rollout-alert.ts';
import { createTrafficCounts, type Served, type Shadowed, type TrafficCounts } from './rollout-counts.ts';
import type { AuditedDecision, RolloutAction, RolloutRecord, RolloutStatus, RolloutStore } from './rollout-record.ts';

export interface RolloutDeps {
  readonly store: RolloutStore;
  readonly deploymentVersion: (name: string) => string | undefined;
  /** The version of a model that serves; throws when it does not. */
  readonly readyVersion: (model: string, version: string) => string;
  /** Whether the deployment itself sends traffic to the version. */
  readonly isTarget: (deployment: string, model: string, version: string) => boolean;
  /** The deployment's models of its own. */
  readonly targetsOf: (deployment: string) => readonly string[];
  /** Whether a model's definition says where its outcomes come from. */
  readonly hasOutcome: (model: string) => boolean;
  readonly nowUs: () => number;
  /** Moves the alias that the deployment follows to the version, when it follows one; the alias. */
  readonly moveAlias: (deployment: string, to: Candidate, author: AliasRequest) => Promise<string | undefined>;
  /** Moves an alias back to where it was; one that points elsewhere by now stays. */
  readonly moveAliasBack: (alias: string, from: Candidate, author: AliasRequest) => Promise<void>;
  readonly raise: RaiseAlert;
  readonly onShadow: (deployment: string, outcome: Shadowed) => void;
  readonly onProblem: (event: string, error: unknown) => void;
}

export interface StartRollout {
  readonly deployment: string;
  readonly model: string;
  readonly modelVersion: string;
  readonly plan: RolloutPlan;
  readonly by: string;
}

/** The candidate that a unit goes to in place of the deployment's own targets. */
export interface Candidate {
  readonly model: string;
  readonly version: string;
}

/** Where rows of a call go, and what became of them. */
export interface CallRoute {
  /** The rollout's. */
  readonly id: string;
  candidateOf(unit: string): Candidate | undefined;
  /** The unit takes part: it was sent to the candidate or to what serves, as `candidateOf` says. */
  exposed(unit: string): void;
  served(model: string, version: string, outcome: Served): void;
  /** The version that the unit's call is sent to as well, without its answer being waited for. */
  shadowOf(unit: string): Candidate | undefined;
  shadowed(outcome: Shadowed): void;
}

const decisionsMax = 100;
const keepEveryUs = 5e6;

interface Live {
  record: RolloutRecord;
  readonly counts: TrafficCounts;
  keptUs: number;
  judgedSeq: number;
}

export type Rollouts = Awaited<ReturnType<typeof createRollouts>>;

/** The rollouts of this process. `tick` decides from what was counted since the last one. */
export async function createRollouts(deps: RolloutDeps) {
  const live = new Map<string, Live>();
  let isTicking = false;
  for (const record of await deps.store.load())
    live.set(record.deployment, {
      record,
      counts: createTrafficCounts(record.baseline, record.pairs, thresholdOf(record.plan)),
      keptUs: deps.nowUs(),
      judgedSeq: record.judgedSeq ?? 0,
    });

  const isCurrent = ({ record }: Live) => deps.deploymentVersion(record.deployment) === record.deploymentVersion;
  const find = (deployment: string): Live => {
    const found = live.get(deployment);
    if (!found)
      throw new MeshError(
        'UNKNOWN_ROLLOUT',
        `deployment "${deployment}" has no rollout; begin one: millrace rollout start ${deployment} --model <name>`,
        { deployment },
      );
    return found;
  };

  /** In effect at once; kept and audited before it resolves. */
  async function conclude(one: Live, action: RolloutAction, by: string, reason: string, next: Partial<RolloutRecord>) {
    const { record } = one;
    const decision = decide(record.plan, record.progress, deps.nowUs());
    const audited: AuditedDecision = {
      rollout: record.id,
      deployment: record.deployment,
      model: record.model,
      modelVersion: record.modelVersion,
      decidedUs: deps.nowUs(),
      by,
      action,
      reason,
      decision,
    };
    const decisions = [...record.decisions, audited].slice(-decisionsMax);
    const { baseline, pairs } = one.counts;
    one.record = { ...record, ...next, decisions, baseline, pairs };
    one.keptUs = deps.nowUs();
    await deps.store.put(one.record);
    await deps.store.audit(audited);
    const alert = rolloutAlert(audited);
    // the decision is in effect and audited: an alert that cannot be raised must not undo it
    if (alert) await deps.raise(alert).catch((error) => deps.onProblem('rollout_alert_not_raised', error));
  }

  /** For good where the deployment follows an alias: it is moved first, and what follows it needs no rollout any more. */
  async function promote(one: Live, by: string, reason: string): Promise<void> {
    const { id, deployment, model, modelVersion: version } = one.record;
    const author = { by, reason: `rollout ${id} of deployment "${deployment}": ${reason}` };
    const alias = await deps.moveAlias(deployment, { model, version }, author);
    const moved = alias === undefined ? {} : { promotedAlias: alias };
    await conclude(one, 'promote', by, reason, { status: 'promoted', ...moved });
  }

  async function rollBack(one: Live, by: string, reason: string): Promise<void> {
    const { id, deployment, model, modelVersion: version, promotedAlias } = one.record;
    const author = { by, reason: `rollout ${id} of deployment "${deployment}": ${reason}` };
    if (promotedAlias !== undefined) await deps.moveAliasBack(promotedAlias, { model, version }, author);
    await conclude(one, 'rollback', by, reason, { status: 'rolled_back' });
  }

  async function tickOne(one: Live): Promise<void> {
    const { record } = one;
    if (record.status !== 'running' && record.status !== 'paused') return;
    if (!isCurrent(one)) return conclude(one, 'rollback', 'registry', 'DEPLOYMENT_CHANGED', { status: 'superseded' });
    const progress = observe(record.plan, record.progress, one.counts.take());
    one.record = { ...record, progress, judgedSeq: one.judgedSeq };
    const nowUs = deps.nowUs();
    const { action, reason } = decide(record.plan, progress, nowUs);
    const last = record.decisions.at(-1);
    if (record.status === 'paused' && action !== 'rollback') return;
    if (action === 'rollback') return rollBack(one, 'evidence', reason);
    if (action === 'promote') return promote(one, 'evidence', reason);
    if (action === 'advance') {
      one.counts.newStep();
      return conclude(one, action, 'evidence', reason, { progress: advance(progress, nowUs) });
    }
    const isNews = reason !== 'EXPOSURE' && !(last?.action === 'hold' && last.reason === reason);
    if (isNews) return conclude(one, 'hold', 'evidence', reason, {});
    if (nowUs - one.keptUs < keepEveryUs) return;
    one.keptUs = nowUs;
    await deps.store.put({ ...one.record, baseline: one.counts.baseline, pairs: one.counts.pairs });
  }

  return {
    async start(given: StartRollout): Promise<RolloutRecord> {
      const deploymentVersion = deps.deploymentVersion(given.deployment);
      if (deploymentVersion === undefined)
        throw new MeshError('UNKNOWN_DEPLOYMENT', `there is no deployment "${given.deployment}"`, {
          deployment: given.deployment,
        });
      const before = live.get(given.deployment);
      if (before && isCurrent(before) && (before.record.status === 'running' || before.record.status === 'paused'))
        throw new MeshError(
          'ROLLOUT_RUNS',
          `deployment "${given.deployment}" has a rollout that is ${before.record.status}; promote it or roll it back first`,
          { deployment: given.deployment, rollout: before.record.id },
        );
      const modelVersion = deps.readyVersion(given.model, given.modelVersion);
      if (deps.isTarget(given.deployment, given.model, modelVersion))
        throw new MeshError(
          'INVALID_ARGUMENT',
          `model "${given.model}" of version "${modelVersion}" serves deployment "${given.deployment}" already; name another version or model`,
          { deployment: given.deployment, model: given.model, version: modelVersion },
        );
      const plan = checkPlan(given.plan);
      checkGuardrails(plan, [given.model, ...deps.targetsOf(given.deployment)], deps.hasOutcome);
      const counts = createTrafficCounts(undefined, undefined, thresholdOf(plan));
      const record: RolloutRecord = {
        id: newId(),
        deployment: given.deployment,
        deploymentVersion,
        model: given.model,
        modelVersion,
        plan,
        status: 'running',
        progress: startProgress(plan, deps.nowUs()),
        decisions: [],
        baseline: counts.baseline,
        judgedSeq: 0,
      };
      const one: Live = { record, counts, keptUs: 0, judgedSeq: 0 };
      await conclude(one, 'start', given.by, 'ASKED', {});
      live.set(given.deployment, one);
      return one.record;
    },
    find(deployment: string): RolloutRecord {
      const { record, counts } = find(deployment);
      return { ...record, pairs: counts.pairs };
    },
    now: (record: RolloutRecord): Decision => decide(record.plan, record.progress, deps.nowUs()),
    async control(deployment: string, action: string, by: string, reason: string): Promise<RolloutRecord> {
      const one = find(deployment);
      const { status } = one.record;
      const next = nextStatus(action, status);
      if (!next)
        throw new MeshError(
          'INVALID_ARGUMENT',
          `the rollout of deployment "${deployment}" is ${status}: "${action}" does not apply; actions: promote, rollback, pause, resume`,
          { deployment, action, status },
        );
      if (next.action === 'promote') await promote(one, by, reason || 'ASKED');
      else if (next.action === 'rollback') await rollBack(one, by, reason || 'ASKED');
      else await conclude(one, next.action, by, reason || 'ASKED', { status: next.status });
      return one.record;
    },
    /** What must be loaded. */
    candidates: (): readonly Candidate[] =>
      [...live.values()]
        .filter(({ record }) => ['running', 'paused', 'promoted'].includes(record.status) && !record.promotedAlias)
        .map(({ record }) => ({ model: record.model, version: record.modelVersion })),
    /** How a call to the deployment is routed; undefined without a rollout. */
    route(deployment: string): CallRoute | undefined {
      const one = live.get(deployment);
      if (!one || !isCurrent(one)) return undefined;
      const { record } = one;
      const isOpen = record.status === 'running' || record.status === 'paused';
      if (!isOpen && (record.status !== 'promoted' || record.promotedAlias !== undefined)) return undefined;
      const candidate = { model: record.model, version: record.modelVersion };
      const { id } = record;
      if (!isOpen) return { ...noCounting, id, candidateOf: () => candidate };
      const share = shareOf(record.plan, record.progress);
      const isIn = (unit: string) => isCanary(bucketOf(id, deployment, unit), share);
      return {
        id,
        candidateOf: (unit) => (isIn(unit) ? candidate : undefined),
        exposed: (unit) => one.counts.exposed(unit, isIn(unit)),
        shadowOf(unit) {
          const shadowShare = shadowShareOf(record.plan, record.progress);
          return isCanary(bucketOf(`${record.id}|shadow`, deployment, unit), shadowShare) ? candidate : undefined;
        },
        shadowed(outcome) {
          one.counts.shadowed(outcome);
          deps.onShadow(deployment, outcome);
        },
        served: (model, version, outcome) =>
          one.counts.add(model === candidate.model && version === candidate.version, outcome),
      };
    },
    /** An outcome came, perhaps for a second time after a restart; of predictions since the rollout began it is evidence. */
    judged({ deployment, model, modelVersion, predictedUs, loss, outcomeSeq }: Judged): void {
      const one = live.get(deployment);
      if (!one || !isCurrent(one)) return;
      const { record } = one;
      const isOpen = record.status === 'running' || record.status === 'paused';
      if (!isOpen || predictedUs < record.progress.startedUs || outcomeSeq <= record.judgedSeq) return;
      one.judgedSeq = outcomeSeq;
      one.counts.judged(model === record.model && modelVersion === record.modelVersion, loss);
    },
    async tick(): Promise<void> {
      if (isTicking) return;
      isTicking = true;
      for (const one of live.values()) await tickOne(one).catch((error) => deps.onProblem('rollout_not_kept', error));
      isTicking = false;
    },
  };
}

const noCounting: Omit<CallRoute, 'candidateOf' | 'id'> = {
  exposed: () => undefined,
  served: () => undefined,
  shadowOf: () => undefined,
  shadowed: () => undefined,
};

function thresholdOf({ guardrails }: RolloutPlan): number | undefined {
  return guardrails.flatMap((guardrail) => ('threshold' in guardrail ? (guardrail.threshold ?? []) : []))[0];
}

/** Whether a failure speaks against the model version that answered: not the caller's mistakes, and not callers who left. */
export function isServerFault(thrown: unknown): boolean {
  const code: number = ReasonCode[toMeshError(thrown).reason];
  return ![1, 3, 5].includes(code);
}

function checkGuardrails(plan: RolloutPlan, models: readonly string[], hasOutcome: (model: string) => boolean): void {
  for (const { kind } of plan.guardrails) {
    const model = kind === 'quality' ? models.find((name) => !hasOutcome(name)) : undefined;
    if (model !== undefined)
      throw new MeshError(
        'INVALID_ARGUMENT',
        `guardrail "quality" needs outcomes, and the definition of model "${model}" says nothing of where they come from; give it an outcome`,
        { guardrail: kind, model },
      );
  }
}

function nextStatus(
  action: string,
  status: RolloutStatus,
): { readonly action: RolloutAction; readonly status: RolloutStatus } | undefined {
  const isOpen = status === 'running' || status === 'paused';
  if (action === 'promote' && isOpen) return { action, status: 'promoted' };
  // a promotion can be taken back as well
  if (action === 'rollback' && (isOpen || status === 'promoted')) return { action, status: 'rolled_back' };
  if (action === 'pause' && status === 'running') return { action, status: 'paused' };
  if (action === 'resume' && status === 'paused') return { action, status: 'running' };
  return undefined;
}
