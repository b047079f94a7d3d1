import type { Decision, PairTally, Progress, RolloutPlan } from '@millrace/rollouts';
import type { TrafficCounts } from './rollout-counts.ts';

export type RolloutStatus = 'running' | 'paused' | 'promoted' | 'rolled_back' | 'superseded';
export type RolloutAction = 'start' | 'hold' | 'advance' | 'promote' | 'rollback' | 'pause' | 'resume';

/** A decision as it is audited. */
export interface AuditedDecision {
  readonly rollout: string;
  readonly deployment: string;
  readonly model: string;
  readonly modelVersion: string;
  readonly decidedUs: number;
  readonly by: string;
  readonly action: RolloutAction;
  readonly reason: string;
  readonly decision: Decision;
}

/** All of a rollout: what is kept. */
export interface RolloutRecord {
  readonly id: string;
  readonly deployment: string;
  /** The deployment that it changes; another version ends it. */
  readonly deploymentVersion: string;
  readonly model: string;
  readonly modelVersion: string;
  readonly plan: RolloutPlan;
  readonly status: RolloutStatus;
  readonly progress: Progress;
  readonly decisions: readonly AuditedDecision[];
  readonly baseline: TrafficCounts['baseline'];
  /** Of its shadow; left out by records from before there were shadows. */
  readonly pairs?: PairTally;
  /** The alias that the promotion moved; the deployment follows it, and the rollout routes nothing any more. */
  readonly promotedAlias?: string;
  /** The last event whose outcomes `progress` holds: after a restart they are read again from the first. */
  readonly judgedSeq: number;
}

export interface RolloutStore {
  load(): Promise<readonly RolloutRecord[]>;
  put(record: RolloutRecord): Promise<void>;
  audit(decision: AuditedDecision): Promise<void>;
}
