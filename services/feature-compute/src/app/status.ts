import type { Checkpointer } from './checkpointer.ts';
import type { ComputeMetrics } from './compute-metrics.ts';
import type { Engine } from './engine.ts';
import type { RowFlusher } from './row-flusher.ts';
import type { Verifier, VerifierStatus } from './verifier.ts';

export type ViewStatus = {
  readonly name: string;
  readonly version: string;
  readonly state: 'warming' | 'ready' | 'failed';
  readonly entities: number;
  readonly progress: number;
  readonly frontierUs: number;
  readonly lateDropped: number;
  readonly error: string;
};

export type ComputeStatus = {
  readonly rowPosition: number;
  readonly checkpointPosition: number;
  readonly streamPosition: number;
  readonly rowsWritten: number;
  readonly eventsApplied: number;
  readonly parityCompared: number;
  readonly parityMismatched: number;
  readonly verifier: VerifierStatus;
  readonly views: readonly ViewStatus[];
};

/** What GetStatus tells. */
export function createStatus(deps: {
  readonly engine: Engine;
  readonly flusher: RowFlusher;
  readonly checkpointer: Checkpointer;
  readonly metrics: ComputeMetrics;
  readonly verifier: Verifier;
  readonly streamPosition: () => Promise<number>;
}): () => Promise<ComputeStatus> {
  const { engine, metrics } = deps;
  return async () => ({
    rowPosition: deps.flusher.rowPosition(),
    checkpointPosition: deps.checkpointer.position(),
    streamPosition: await deps.streamPosition(),
    ...metrics.totals,
    verifier: deps.verifier.status(),
    views: [...engine.views.values()]
      .filter((view) => view.record.phase !== 'dropping')
      .map((view) => ({
        name: view.record.definition.name,
        version: view.record.definition.version,
        state: view.record.phase === 'ready' ? 'ready' : view.error === '' ? 'warming' : 'failed',
        entities: view.record.entities,
        progress: view.record.phase === 'ready' ? 1 : view.progress,
        frontierUs: engine.frontiers.of(view.record.definition.source),
        lateDropped: view.record.lateDropped,
        error: view.error,
      })),
  });
}
