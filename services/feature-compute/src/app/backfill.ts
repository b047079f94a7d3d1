import type { Scalar, ViewDefinition } from '@millrace/features';
import { sleep } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { ViewCells } from '../domain/view-cells.ts';
import type { ActiveView, Engine } from './engine.ts';
import { createGate } from './gate.ts';
import type { WaitForHistory } from './wait-for-history.ts';

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
  /** Tiles of the events up to the position, of all entities or of some, streamed in batches of bounded size. */
  tiles(
    definition: ViewDefinition,
    asked: { readonly upToPosition: number; readonly frontierUs: number; readonly entities?: readonly EntityKeys[] },
    signal: AbortSignal,
  ): AsyncIterable<readonly TileRow[]>;
  /** The entities that any version of these events belongs to. */
  entitiesOf(definition: ViewDefinition, eventIds: readonly string[], signal: AbortSignal): Promise<EntityKeys[]>;
};

/** An entity's key in the hot store, and the values of its join keys. */
export type EntityKeys = { readonly entityKey: string; readonly values: readonly Exclude<Scalar, null>[] };

/** Fills a view's windows with the events up to its start position. Live events are applied meanwhile; merging is order-free. */
export type FillFromHistory = (view: ActiveView, signal: AbortSignal) => Promise<void>;

/** Views whose tiles are read at the same time: each is a heavy query. */
const tilesAtOnce = 2;

export function createFillFromHistory(deps: {
  readonly engine: Engine;
  readonly history: ViewHistory;
  readonly waitForHistory: WaitForHistory;
  readonly telemetry: Telemetry;
}): FillFromHistory {
  const { engine, history, telemetry } = deps;
  const gate = createGate(tilesAtOnce);
  const extents = new Map<string, Promise<HistoryExtent>>();

  /** Once history is complete up to a position its extent up to there is for good: views that ask at the same time share the answer. */
  function extentOf(source: string, position: number, signal: AbortSignal): Promise<HistoryExtent> {
    const key = `${source} ${position}`;
    const found = extents.get(key);
    if (found !== undefined) return found;
    const asked = deps
      .waitForHistory(source, position, signal)
      .then(() => history.extent(source, position))
      .finally(() => extents.delete(key));
    extents.set(key, asked);
    return asked;
  }

  return async (view, signal) => {
    const { definition, startPosition } = view.record;
    if (startPosition === 0) return;
    const extent = await extentOf(definition.source, startPosition, signal);
    if (extent.position === 0 || signal.aborted) return;
    await gate(() => merge(view, extent, signal));
  };

  async function merge(view: ActiveView, extent: HistoryExtent, signal: AbortSignal): Promise<void> {
    const { definition, startPosition } = view.record;
    if (signal.aborted || view.record.phase !== 'warming') return;
    engine.frontiers.advance(definition.source, extent.frontierUs);
    const frontierUs = engine.frontiers.of(definition.source);
    const asked = { upToPosition: startPosition, frontierUs };
    let tiles = 0;
    for await (const batch of history.tiles(definition, asked, signal)) {
      // nobody needs it any more: its turn goes to the next
      if (view.record.phase !== 'warming') return;
      view.isMerged = true;
      for (const row of batch) {
        const { cell } = view.cells.cell(row.entityKey);
        if (cell.isGone) view.record.entities++;
        view.cells.changed(cell, engine.position + 1);
        cell.isGone = false;
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
  }
}
