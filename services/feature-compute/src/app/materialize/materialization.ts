import { contentVersion } from '@millrace/kernel';

export type MaterializationState = 'running' | 'done' | 'cancelled' | 'failed';

/** What is asked for; every field is filled in. */
export type MaterializationRange = {
  readonly view: string;
  readonly version: string;
  readonly fromUs: number;
  readonly toUs: number;
  readonly everyUs: number;
};

/** A job, as it is kept. Its shards are a fixed list of (times, entities), done in order. */
export type Materialization = MaterializationRange & {
  readonly id: string;
  readonly createdUs: number;
  /** Only events up to here count; 0 until it is planned. */
  readonly position: number;
  /** Entities are split into so many parts by the hash of their keys; times into runs of so many. */
  readonly entityParts: number;
  readonly timesPerShard: number;
  readonly state: MaterializationState;
  readonly shardsDone: number;
  readonly rows: number;
  /** Time spent on shards, in milliseconds. */
  readonly busyMs: number;
  readonly error: string;
  /** Done also when what is expected of the features and blocks is not met. */
  readonly allowsFailed?: boolean;
};

export type Shard = { readonly part: number; readonly fromUs: number; readonly times: number };

/** Jobs, durable. */
export interface MaterializationBook {
  list(): readonly Materialization[];
  put(job: Materialization): void;
}

/** Rows of one statement, about. */
const rowsPerShard = 20_000;

export function newMaterialization(range: MaterializationRange, createdUs: number): Materialization {
  const id = contentVersion(range);
  const empty = { position: 0, entityParts: 0, timesPerShard: 0, shardsDone: 0, rows: 0, busyMs: 0, error: '' };
  return { ...range, id, createdUs, state: 'running', ...empty };
}

/** Shards of about 20,000 rows. */
export function planned(job: Materialization, entities: number, position: number): Materialization {
  const entityParts = Math.max(1, Math.ceil(entities / rowsPerShard));
  const timesPerShard = Math.max(1, Math.floor(rowsPerShard / Math.max(1, entities)));
  return { ...job, position, entityParts, timesPerShard };
}

/** 0 until it is planned. */
export function shardsOf({ entityParts, timesPerShard, ...job }: Materialization): number {
  return entityParts === 0 ? 0 : entityParts * Math.ceil(timesOf(job) / timesPerShard);
}

export function timesOf({ fromUs, toUs, everyUs }: Pick<MaterializationRange, 'fromUs' | 'toUs' | 'everyUs'>): number {
  return Math.max(0, Math.ceil((toUs - fromUs) / everyUs));
}

export function shardAt(job: Materialization, index: number): Shard {
  const first = Math.floor(index / job.entityParts) * job.timesPerShard;
  return {
    part: index % job.entityParts,
    fromUs: job.fromUs + first * job.everyUs,
    times: Math.min(job.timesPerShard, timesOf(job) - first),
  };
}

/** At its pace so far; 0 when that is not known. */
export function leftUs(job: Materialization): number {
  if (job.state !== 'running' || job.shardsDone === 0) return 0;
  return Math.round((job.busyMs * 1000 * (shardsOf(job) - job.shardsDone)) / job.shardsDone);
}
