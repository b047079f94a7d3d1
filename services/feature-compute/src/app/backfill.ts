import type { ViewDefinition } from '@millrace/features';
import type { Telemetry } from '@millrace/runtime';
import type { ViewCells } from '../domain/view-cells.ts';
import type { ActiveView, Engine } from './engine.ts';
import { sleep } from './sleep.ts';

/** What history holds of a source up to a position. */
export type HistoryExtent = {
  /** The largest position; 0 when there is none. */
  readonly position: number;
  readonly knownTimeUs: number;
  readonly frontierUs: number;
};

/** One entity's partial aggregates, ready to be merged into its state. */
export type TileRow = { readonly entityKey: string; merge(cells: ViewCells, state: unknown): void };

export type ViewHistory = {
  /** The largest position of the source in history; 0 when there is no table or no event. */
  maxPosition(source: string): Promise<number>;
  extent(source: string, upToPosition: number): Promise<HistoryExtent>;
  /** Tiles of the events up to the position, streamed in batches of bounded size. */
  tiles(
    view: ViewCells,
    definition: ViewDefinition,
    upToPosition: number,
    frontierUs: number,
    signal: AbortSignal,
  ): AsyncIterable<readonly TileRow[]>;
};

/** Fills a view's windows with the events up to its start position. Live events are applied meanwhile; merging is order-free. */
export type FillFromHistory = (view: ActiveView, signal: AbortSignal) => Promise<void>;

export function createFillFromHistory(deps: {
  readonly engine: Engine;
  readonly history: ViewHistory;
  /** The last position of a source in the EVENTS stream; 0 when it has none. */
  readonly lastPosition: (source: string) => Promise<number>;
  readonly telemetry: Telemetry;
  readonly pollMs: number;
}): FillFromHistory {
  const { engine, history, telemetry } = deps;

  /**
   * History is written in stream order, a position whole or not at all, so it is complete up to the start position once its
   * largest position has reached the source's last one, or has passed the start.
   */
  async function waitForHistory(source: string, startPosition: number, signal: AbortSignal): Promise<void> {
    const target = Math.min(await deps.lastPosition(source), startPosition);
    for (let waits = 0; !signal.aborted; waits++) {
      const reached = await history.maxPosition(source);
      if (reached >= target) return;
      if (waits % 100 === 0) telemetry.log.info({ event: 'waiting_for_history', source, reached, target });
      await sleep(deps.pollMs, signal);
    }
  }

  return async (view, signal) => {
    const { definition, startPosition } = view.record;
    if (startPosition === 0) return;
    await waitForHistory(definition.source, startPosition, signal);
    const extent = await history.extent(definition.source, startPosition);
    if (extent.position === 0 || signal.aborted) return;
    engine.frontiers.advance(definition.source, extent.frontierUs);
    const frontierUs = engine.frontiers.of(definition.source);
    let tiles = 0;
    for await (const batch of history.tiles(view.cells, definition, startPosition, frontierUs, signal)) {
      for (const row of batch) {
        const { cell, shard, created } = view.cells.cell(row.entityKey);
        if (created) view.record.entities++;
        view.cells.willChange(cell, shard);
        row.merge(view.cells, cell.state);
        // a live event may have come first; the row then reflects that one
        cell.position = Math.max(cell.position, extent.position);
        cell.knownTimeUs = Math.max(cell.knownTimeUs, extent.knownTimeUs);
      }
      tiles += batch.length;
      engine.touch();
      view.progress = Math.min(0.5, view.progress + 0.01);
      await sleep(0, signal);
    }
    telemetry.log.info({ event: 'filled_from_history', view: view.id, tiles, entities: view.record.entities });
  };
}
