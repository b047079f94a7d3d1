import type { DecodedBatch } from '@millrace/events';
import type { ViewDefinition } from '@millrace/features';
import type { Clock } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { createFillFromHistory, type ViewHistory } from './backfill.ts';
import { type Checkpointer, createCheckpointer } from './checkpointer.ts';
import type { ComputeMetrics } from './compute-metrics.ts';
import { Engine } from './engine.ts';
import type { FeatureJudge } from './expectations/feature-judge.ts';
import type { VersionGate } from './expectations/version-gate.ts';
import { type HotIdentity, runHotHealer } from './hot-healer.ts';
import { runPipeline, type StreamMessage } from './pipeline.ts';
import { createRebuilder } from './rebuilder.ts';
import { recoverEngine } from './recovery.ts';
import { createRowFlusher, type RowFlusher, type RowWriter } from './row-flusher.ts';
import { createRowRewriter } from './row-rewriter.ts';
import type { StateStore } from './state-store.ts';
import { createViewKeeper, type TellStates, type ViewKeeper } from './view-keeper.ts';
import { createWaitForHistory } from './wait-for-history.ts';

/** The limits and intervals of the computation; all of them come from the configuration. */
export type ComputeLimits = {
  readonly shards: number;
  readonly entitiesInMemoryMax: number;
  readonly flushIntervalMs: number;
  readonly rowsPerFlushMax: number;
  readonly rowsBehindMax: number;
  readonly checkpointIntervalMs: number;
  readonly checkpointEntitiesMax: number;
  readonly healIntervalMs: number;
  readonly retractionsPendingMax: number;
};

/** The stream, as the computation needs it. */
export type EventLog = {
  read(fromPosition: number, signal: AbortSignal): AsyncIterable<StreamMessage>;
  decode(data: Uint8Array): DecodedBatch;
  bounds(): Promise<{ readonly first: number; readonly last: number }>;
  lastPosition(source: string): Promise<number>;
};

export type Compute = {
  readonly engine: Engine;
  readonly flusher: RowFlusher;
  readonly checkpointer: Checkpointer;
  readonly keeper: ViewKeeper;
  /** Runs until the signal aborts, or a part fails for good. */
  run(signal: AbortSignal): Promise<void>;
  /** Writes the rows that are behind and commits: a clean stop leaves nothing to redo. */
  finish(): Promise<void>;
};

const historyPollMs = 100;
const finishMs = 5_000;

/** Puts the parts together: one stream in, rows and checkpoints out, views kept as the registry wants them. */
export async function openCompute(deps: {
  readonly store: StateStore;
  readonly events: EventLog;
  readonly writer: RowWriter;
  readonly field: (view: string, version: string) => string;
  readonly hot: HotIdentity;
  readonly history: ViewHistory;
  readonly dropRows: (keys: readonly string[], definition: ViewDefinition) => Promise<void>;
  readonly tell: TellStates;
  /** Sees the rows of views that are served. */
  readonly see: FeatureJudge['see'];
  readonly gate: VersionGate;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly metrics: ComputeMetrics;
  readonly limits: ComputeLimits;
}): Promise<Compute> {
  const { store, events, limits } = deps;
  const engine = new Engine(store, limits);
  await recoverEngine(engine, store, await events.bounds(), deps.telemetry);
  const flusher = createRowFlusher({
    ...deps,
    engine,
    intervalMs: limits.flushIntervalMs,
    rowsPerFlushMax: limits.rowsPerFlushMax,
  });
  const checkpointer = createCheckpointer({
    ...deps,
    engine,
    flusher,
    intervalMs: limits.checkpointIntervalMs,
    unsavedMax: limits.checkpointEntitiesMax,
  });
  const rewrite = createRowRewriter({ ...deps, engine, flusher });
  const waitForHistory = createWaitForHistory({
    ...deps,
    lastPosition: (source) => events.lastPosition(source),
    pollMs: historyPollMs,
  });
  const fill = createFillFromHistory({ ...deps, engine, waitForHistory });
  const rebuilder = createRebuilder({ ...deps, engine, flusher, waitForHistory });
  const keeper = createViewKeeper({ ...deps, engine, checkpointer, fill, rewrite });

  return {
    engine,
    flusher,
    checkpointer,
    keeper,
    run: async (signal) => {
      const messages = events.read(engine.position + 1, signal);
      await Promise.all([
        runPipeline({
          ...deps,
          engine,
          flusher,
          messages,
          decode: events.decode,
          firstPosition: async () => (await events.bounds()).first,
          rowsBehindMax: limits.rowsBehindMax,
          retractionsPendingMax: limits.retractionsPendingMax,
          signal,
        }),
        flusher.run(signal),
        checkpointer.run(signal),
        keeper.run(signal),
        rebuilder.run(signal),
        runHotHealer({ ...deps, engine, rewrite, intervalMs: limits.healIntervalMs, signal }),
      ]);
    },
    finish: async () => {
      await flusher.drain(AbortSignal.timeout(finishMs));
      await checkpointer.checkpoint();
    },
  };
}
