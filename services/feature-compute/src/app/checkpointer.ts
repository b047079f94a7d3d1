import { setImmediate as turn } from 'node:timers/promises';
import { sleep } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { ComputeMetrics } from './compute-metrics.ts';
import type { Engine } from './engine.ts';
import type { RowFlusher } from './row-flusher.ts';
import type { StateStore } from './state-store.ts';

/** How long states are encoded before events and rows get a turn. */
const encodeMs = 1;

export type Checkpointer = {
  run(signal: AbortSignal): Promise<void>;
  /** Commits what changed; waits for a commit that is under way first. */
  checkpoint(): Promise<void>;
  /** Every event up to this position is in the durable state. */
  position(): number;
};

/** A failed commit is thrown: without its store the process has nothing to go on with, and a restart loses nothing. */
export function createCheckpointer(deps: {
  readonly engine: Engine;
  readonly store: StateStore;
  readonly flusher: RowFlusher;
  readonly telemetry: Telemetry;
  readonly metrics: ComputeMetrics;
  readonly intervalMs: number;
  readonly dirtyEntitiesMax: number;
}): Checkpointer {
  const { engine, store, metrics } = deps;
  let committed = engine.position;
  let committedRevision = -1;
  let underway: Promise<void> = Promise.resolve();

  async function commit(): Promise<void> {
    const { revision } = engine;
    if (revision === committedRevision) return;
    const startedMs = performance.now();
    const { changed, meta, encodeFor } = engine.beginCheckpoint(deps.flusher.inFlight());
    while (!encodeFor(encodeMs)) await turn();
    await store.commit(changed, meta);
    committed = meta.position;
    committedRevision = revision;
    const evicted = engine.evict();
    metrics.checkpointSeconds.observe((performance.now() - startedMs) / 1000);
    deps.telemetry.log.debug({ event: 'checkpoint', position: committed, entities: changed.length, evicted });
  }

  function checkpoint(): Promise<void> {
    underway = underway.then(commit);
    return underway;
  }

  function observe(): void {
    const views = [...engine.views.values()];
    metrics.rowsBehind.set(engine.rowDirtyCount());
    metrics.entitiesInMemory.set(views.reduce((sum, view) => sum + view.cells.count, 0));
    for (const view of views) metrics.lateDropped.set(view.record.lateDropped, { view: view.record.definition.name });
  }

  return {
    checkpoint,
    position: () => committed,
    run: async (signal) => {
      let lastMs = performance.now();
      while (!signal.aborted) {
        await sleep(20, signal);
        const dueByTime = performance.now() - lastMs >= deps.intervalMs;
        if (!dueByTime && engine.stateDirtyCount() < deps.dirtyEntitiesMax) continue;
        await checkpoint();
        observe();
        lastMs = performance.now();
      }
    },
  };
}
