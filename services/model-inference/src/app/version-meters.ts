import { toMeshError } from '@millrace/kernel';
import { BucketCounts } from '@millrace/runtime';
import type { CacheUse } from './response-cache.ts';

export const protocols = ['grpc', 'rest', 'predict'] as const;
/** How a request came: the Open Inference Protocol over gRPC or REST, or Predict. */
export type Protocol = (typeof protocols)[number];

/** Why a request failed, in Triton's words. */
export const failureReasons = ['REJECTED', 'CANCELED', 'BACKEND', 'OTHER'] as const;
export type FailureReason = (typeof failureReasons)[number];

const secondsBounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const rowsBounds = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

/** A batch that ran. */
export interface RanBatch {
  readonly rows: number;
  readonly tookMs: number;
  /** How long each of its requests waited for it. */
  readonly waitsMs: readonly number[];
}

/** Runs of so many rows. */
export interface BatchRuns {
  count: number;
  ms: number;
}

/** Different sizes that are told apart; larger batches after so many sizes are counted in the totals only. */
const sizesMax = 256;

/** What one version of a model did since it was loaded. Counting allocates nothing; whoever wants to know reads the fields. */
export class VersionMeter {
  readonly requestSeconds: Readonly<Record<Protocol, BucketCounts>> = {
    grpc: new BucketCounts(secondsBounds),
    rest: new BucketCounts(secondsBounds),
    predict: new BucketCounts(secondsBounds),
  };
  readonly queueSeconds = new BucketCounts(secondsBounds);
  readonly runSeconds = new BucketCounts(secondsBounds);
  readonly batchRows = new BucketCounts(rowsBounds);
  readonly failures: Record<FailureReason, number> = { REJECTED: 0, CANCELED: 0, BACKEND: 0, OTHER: 0 };
  readonly cache = { hits: 0, misses: 0 };
  /** Requests of a model with a response cache: those that ran nothing, the others, and what looking took. */
  readonly cacheRequests = { hits: 0, hitMs: 0, misses: 0, missMs: 0 };
  /** Requests that ran: each waited once. */
  queued = 0;
  readonly runsByRows = new Map<number, BatchRuns>();
  /** Epoch milliseconds of the last answer; 0: none. */
  lastMs = 0;
  failMs = 0;
  successes = 0;
  /** Rows that ran: without those of the response cache. */
  inferences = 0;
  executions = 0;
  /** Sums over requests, as Triton has them: each request of a batch took as long as the batch. */
  readonly ms = { request: 0, queue: 0, input: 0, infer: 0, output: 0 };

  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  succeeded(protocol: Protocol, tookMs: number, inputMs = 0, outputMs = 0): void {
    this.lastMs = this.#nowMs();
    this.successes++;
    this.requestSeconds[protocol].add(tookMs / 1000);
    this.ms.request += tookMs;
    this.ms.input += inputMs;
    this.ms.output += outputMs;
  }

  failed(error: unknown, tookMs = 0): void {
    this.lastMs = this.#nowMs();
    this.failMs += tookMs;
    this.failures[reasonOf(error)]++;
  }

  ran({ rows, tookMs, waitsMs }: RanBatch): void {
    this.inferences += rows;
    this.executions++;
    this.batchRows.add(rows);
    this.runSeconds.add(tookMs / 1000);
    this.ms.infer += tookMs * waitsMs.length;
    this.queued += waitsMs.length;
    const runs = this.runsByRows.get(rows);
    if (runs) {
      runs.count++;
      runs.ms += tookMs;
    } else if (this.runsByRows.size < sizesMax) this.runsByRows.set(rows, { count: 1, ms: tookMs });
    for (const waitedMs of waitsMs) {
      this.queueSeconds.add(waitedMs / 1000);
      this.ms.queue += waitedMs;
    }
  }

  cacheUsed({ hits, shared, misses }: CacheUse, lookedMs: number): void {
    if (misses === 0) {
      this.cacheRequests.hits++;
      this.cacheRequests.hitMs += lookedMs;
    } else {
      this.cacheRequests.misses++;
      this.cacheRequests.missMs += lookedMs;
    }
    this.cache.hits += hits + shared;
    this.cache.misses += misses;
  }
}

function reasonOf(error: unknown): FailureReason {
  switch (toMeshError(error).reason) {
    case 'OVERLOADED':
    case 'DEADLINE_EXCEEDED':
      return 'REJECTED';
    case 'CANCELLED':
      return 'CANCELED';
    case 'MODEL_RUN_FAILED':
      return 'BACKEND';
    default:
      return 'OTHER';
  }
}

/** The meters of the versions that are loaded. */
export interface VersionMeters {
  /** The version is served from now on: its series begin at 0. */
  open(model: string, version: string): void;
  /** Of a version that is not served, what is counted is nobody's. */
  of(model: string, version: string): VersionMeter;
  /** The version is not served any more: its series end. */
  forget(model: string, version: string): void;
  each(): Iterable<{ readonly model: string; readonly version: string; readonly meter: VersionMeter }>;
}

/** @param nowMs epoch milliseconds */
export function createVersionMeters(nowMs: () => number): VersionMeters {
  // two maps and no key made of both: a request looks them up without allocating
  const meters = new Map<string, Map<string, VersionMeter>>();
  // a run may end after its version was unloaded
  const nobody = new VersionMeter(nowMs);
  return {
    open(model, version) {
      const versions = meters.get(model) ?? new Map<string, VersionMeter>();
      meters.set(model, versions);
      if (!versions.has(version)) versions.set(version, new VersionMeter(nowMs));
    },
    of: (model, version) => meters.get(model)?.get(version) ?? nobody,
    forget(model, version) {
      const versions = meters.get(model);
      versions?.delete(version);
      if (versions?.size === 0) meters.delete(model);
    },
    *each() {
      for (const [model, versions] of meters) for (const [version, meter] of versions) yield { model, version, meter };
    },
  };
}
