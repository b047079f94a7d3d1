import { setImmediate as turn } from 'node:timers/promises';
import { sleep } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { ComputeMetrics } from './compute-metrics.ts';
import type { Engine } from './engine.ts';
import type { RowFlusher } from './row-flusher.ts';
import { createSavePace } from './save-pace.ts';
import { createStateSaver } from './state-saver.ts';
import type { StateStore } from './state-store.ts';

/** How long states are encoded before events and rows get a turn. */
const encodeMs = 1;
const tickMs = 20;
/** What is encoded is committed so many times an interval. */
const commitsPerInterval = 10;
const commitBytesMax = 8 * 2 ** 20;
/** Cells that are used in the time between two evictions stay: it must not be much shorter than a busy entity's pauses. */
const evictEveryMsMax = 1_000;

export type Checkpointer = {
  run(signal: AbortSignal): Promise<void>;
  /** Commits everything that has changed by now. */
  checkpoint(): Promise<void>;
  /** Every event up to this position is in the durable state. */
  position(): number;
};

/**
 * Saves states all the time, a few at a time, each as it is then; a commit names a position that none of the saved states is before, and a restart passes
 * over what a state reflects already. A failed commit is thrown: without its store the process has nothing to go on with, and a restart loses nothing.
 */
export function createCheckpointer(deps: {
  readonly engine: Engine;
  readonly store: StateStore;
  readonly flusher: RowFlusher;
  readonly telemetry: Telemetry;
  readonly metrics: ComputeMetrics;
  readonly intervalMs: number;
  readonly unsavedMax: number;
}): Checkpointer {
  const { engine, store, metrics } = deps;
  const saver = createStateSaver(engine);
  const commitEveryMs = Math.max(tickMs, deps.intervalMs / commitsPerInterval);
  let committed = engine.position;
  let committedRevision = -1;
  let committedMs = Number.NEGATIVE_INFINITY;
  let evictedMs = Number.NEGATIVE_INFINITY;
  let underway: Promise<void> = Promise.resolve();

  async function commitOne(): Promise<void> {
    const { revision } = engine;
    if (saver.bytes() === 0 && revision === committedRevision) return;
    const startedMs = performance.now();
    const { changed, meta, done } = saver.begin(deps.flusher.inFlight());
    await store.commit(changed, meta);
    done();
    committed = meta.position;
    committedRevision = revision;
    const evicted = evict();
    committedMs = performance.now();
    metrics.checkpointSeconds.observe((committedMs - startedMs) / 1000);
    deps.telemetry.log.debug({ event: 'checkpoint', position: committed, entities: changed.length, evicted });
  }

  function evict(): number {
    if (performance.now() - evictedMs < Math.min(evictEveryMsMax, deps.intervalMs)) return 0;
    evictedMs = performance.now();
    return engine.evict();
  }

  /** Never two at once. */
  function commit(): Promise<void> {
    underway = underway.then(commitOne);
    return underway;
  }

  /** Encodes until so many of the marks are, and commits when that is much. */
  async function save(marks: number): Promise<void> {
    while (engine.encoded < marks) {
      if (saver.bytes() >= commitBytesMax) await commit();
      if (saver.encode(marks - engine.encoded, performance.now() + encodeMs) === 0) return;
      await turn();
    }
  }

  function observe(): void {
    const views = [...engine.views.values()];
    metrics.rowsBehind.set(engine.rowDirtyCount());
    metrics.entitiesInMemory.set(views.reduce((sum, view) => sum + view.cells.count, 0));
    for (const view of views) metrics.lateDropped.set(view.record.lateDropped, { view: view.record.definition.name });
  }

  return {
    position: () => committed,
    checkpoint: async () => {
      await save(engine.marks);
      await commit();
    },
    run: async (signal) => {
      const pace = createSavePace(deps.intervalMs);
      let failure: { readonly cause: unknown } | undefined;
      let last: Promise<void> = Promise.resolve();
      let isCommitting = false;
      while (!signal.aborted && failure === undefined) {
        await sleep(tickMs, signal);
        const due = Math.max(engine.urgentMarks, engine.encoded + pace(performance.now(), engine.unsavedCount));
        await save(engine.unsavedCount > deps.unsavedMax ? engine.marks : due);
        if (isCommitting || performance.now() - committedMs < commitEveryMs) continue;
        observe();
        isCommitting = true;
        last = commit()
          .catch((cause) => {
            failure = { cause };
          })
          .finally(() => {
            isCommitting = false;
          });
      }
      await last;
      if (failure !== undefined) throw (failure as { readonly cause: unknown }).cause;
    },
  };
}
