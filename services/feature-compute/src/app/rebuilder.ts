import type { Clock } from '@millrace/kernel';
import { sleep, toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { Cell, Shard } from '../domain/cells.ts';
import type { Retraction } from '../domain/retractions.ts';
import { entityKeyBytesMax } from '../domain/view-cells.ts';
import type { EntityKeys, HistoryExtent, ViewHistory } from './backfill.ts';
import type { ComputeMetrics } from './compute-metrics.ts';
import type { ActiveView, Engine } from './engine.ts';
import type { RowFlusher } from './row-flusher.ts';
import type { WaitForHistory } from './wait-for-history.ts';

/** Rounds are this far apart at least: corrections that come together are looked up together. */
const restMs = 50;
const retryMs = 1_000;
const idsPerRound = 5_000;
const entitiesPerStatement = 2_000;

type Touched = EntityKeys & { readonly cell: Cell; readonly shard: Shard };
type Task = {
  readonly view: ActiveView;
  readonly taken: ReadonlyMap<string, Retraction>;
  readonly touched: readonly Touched[];
};

/**
 * Corrections and deletions: partial aggregates cannot be subtracted from, so the entities that had an event, or have it now, get a new state from history.
 * It begins empty at the engine's position and takes the live events from there on, beside the state that is served; history adds what was before,
 * as it was at that position; then it takes the other's place. A crash in between loses nothing: the retractions are in the checkpoint until the
 * states that reflect them are.
 */
export function createRebuilder(deps: {
  readonly engine: Engine;
  readonly history: ViewHistory;
  readonly waitForHistory: WaitForHistory;
  readonly flusher: Pick<RowFlusher, 'wake'>;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly metrics: ComputeMetrics;
}): { run(signal: AbortSignal): Promise<void> } {
  const { engine, history, waitForHistory, telemetry, metrics, clock } = deps;

  async function round(source: string, views: readonly ActiveView[], signal: AbortSignal): Promise<void> {
    const taken = views.map((view) => ({ view, taken: view.retractions.first(idsPerRound) }));
    const target = Math.max(...taken.flatMap((each) => [...each.taken.values()].map(({ seq }) => seq)));
    await waitForHistory(source, target, signal);
    if (signal.aborted) return;
    const found = await Promise.all(
      taken.map(async (each) => ({
        ...each,
        entities: (await history.entitiesOf(each.view.record.definition, [...each.taken.keys()], signal)).filter(
          ({ entityKey }) => entityKey.length <= entityKeyBytesMax,
        ),
      })),
    );
    // from here on live events go into the new states too: no await may come between the position and the last of them
    const position = engine.position;
    const tasks = found.map(
      (each): Task => ({ ...each, touched: each.entities.map((entity) => begin(each.view, entity)) }),
    );
    try {
      await waitForHistory(source, position, signal);
      const extent = await history.extent(source, position);
      for (const task of tasks) await fill(task, position, signal);
      if (signal.aborted) return;
      for (const task of tasks) settle(task, extent);
    } finally {
      for (const { touched } of tasks) for (const { cell } of touched) cell.rebuilding = null;
    }
    deps.flusher.wake();
  }

  /** History's part of the new states. */
  async function fill({ view, touched }: Task, upToPosition: number, signal: AbortSignal): Promise<void> {
    const { definition } = view.record;
    const frontierUs = engine.frontiers.of(definition.source);
    const byKey = new Map(touched.map((each) => [each.entityKey, each.cell]));
    for (let from = 0; from < touched.length; from += entitiesPerStatement) {
      const entities = touched.slice(from, from + entitiesPerStatement);
      for await (const rows of history.tiles(definition, { upToPosition, frontierUs, entities }, signal)) {
        for (const row of rows) {
          const cell = byKey.get(row.entityKey);
          if (cell?.rebuilding) row.merge(view.cells, cell.rebuilding);
        }
      }
    }
  }

  /** The new states take their places, and the retractions are over: one turn, so that a checkpoint sees both or neither. */
  function settle({ view, taken, touched }: Task, extent: HistoryExtent): void {
    // one that is being dropped has its states removed: none may come back
    if (engine.views.get(view.id) !== view || view.record.phase === 'dropping') return;
    for (const { cell, shard } of touched) {
      if (cell.rebuilding === null) continue;
      const wasGone = cell.isGone;
      view.cells.changed(cell, engine.position + 1);
      cell.state = cell.rebuilding;
      cell.isGone = view.cells.view.isEmpty(cell.state);
      cell.position = Math.max(cell.position, extent.position);
      cell.knownTimeUs = Math.max(cell.knownTimeUs, extent.knownTimeUs);
      view.record.entities += Number(wasGone) - Number(cell.isGone);
      shard.markRow(cell);
    }
    view.retractions.settle(taken, engine.marks);
    const nowUs = clock.nowUs();
    for (const { knownTimeUs } of taken.values())
      metrics.retractionSeconds.observe(Math.max(0, nowUs - knownTimeUs) / 1e6);
    metrics.entitiesRebuilt.inc(touched.length);
    engine.touch();
  }

  async function work(signal: AbortSignal): Promise<boolean> {
    // a state may be ahead of the stream still, and one made anew would not be
    if (engine.isReplaying) return true;
    const waiting = [...engine.views.values()].filter(
      ({ rowsEnabled, retractions, record }) => rowsEnabled && retractions.size > 0 && record.phase !== 'dropping',
    );
    let isSettled = true;
    for (const [source, views] of Map.groupBy(waiting, ({ record }) => record.definition.source)) {
      try {
        await round(source, views, signal);
      } catch (thrown) {
        if (signal.aborted) return true;
        isSettled = false;
        telemetry.log.warn({ event: 'retractions_wait', source, error: toMeshError(thrown).message });
      }
    }
    metrics.retractionsPending.set(engine.retractionCount());
    return isSettled;
  }

  return {
    run: async (signal) => {
      while (!signal.aborted) await sleep((await work(signal)) ? restMs : retryMs, signal);
    },
  };
}

function begin(view: ActiveView, entity: EntityKeys): Touched {
  const { cell, shard } = view.cells.cell(entity.entityKey);
  cell.rebuilding = view.cells.view.newState();
  return { ...entity, cell, shard };
}
