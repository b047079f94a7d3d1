import { type Clock, sleep } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { ActiveView, Engine } from './engine.ts';
import type { Row, RowFlusher, RowWriter } from './row-flusher.ts';
import type { StateStore } from './state-store.ts';

const batchRows = 500;

/** Writes every row of a view from its states, in bounded batches, whatever Redis holds. Resolves when all are written. */
export type RowRewriter = (view: ActiveView, signal: AbortSignal) => Promise<void>;

/**
 * The working set goes through the flusher; saved states that are not in memory are written directly. A newer row that the
 * flusher writes meanwhile wins by its position.
 */
export function createRowRewriter(deps: {
  readonly engine: Engine;
  readonly store: StateStore;
  readonly flusher: RowFlusher;
  readonly writer: RowWriter;
  readonly field: (view: string, version: string) => string;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}): RowRewriter {
  const { engine, store, flusher } = deps;

  return async (view, signal) => {
    const sweeps = flusher.sweeps();
    view.cells.markAllRows();
    const marked = view.cells.count;
    let after: string | undefined;
    let saved = 0;
    for (;;) {
      const found = store.scan(view.id, after, batchRows);
      if (found.length === 0 || signal.aborted) break;
      after = found.at(-1)?.entityKey;
      const rows = rowsOf(view, found);
      if (rows.length > 0) await writeUntilDone(rows, signal);
      saved += rows.length;
      view.progress = Math.min(1, 0.5 + (0.5 * saved) / Math.max(1, view.record.entities));
      await sleep(0, signal);
    }
    // a view of a source without events has none: thousands of those should not wait for the flusher one after another
    const swept = marked + view.cells.count === 0 ? sweeps : sweeps + 2;
    while (flusher.sweeps() < swept && !signal.aborted) await sleep(10, signal);
    deps.telemetry.log.info({ event: 'rows_rewritten', view: view.id, inMemory: view.cells.count, saved });
  };

  function rowsOf(view: ActiveView, found: readonly { entityKey: string; bytes: Buffer }[]): readonly Row[] {
    const { definition } = view.record;
    const nowUs = deps.clock.nowUs();
    const frontierUs = engine.frontiers.effective(definition.source, nowUs);
    const field = deps.field(definition.name, definition.version);
    return found
      .filter(({ entityKey }) => !view.cells.inMemory(entityKey))
      .map(({ entityKey, bytes }) => {
        const cell = view.cells.decode(entityKey, bytes);
        return { key: entityKey, field, row: view.cells.row(cell, frontierUs, nowUs), view: definition };
      });
  }

  async function writeUntilDone(rows: readonly Row[], signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await deps.writer.write(rows);
        return;
      } catch (cause) {
        deps.telemetry.log.warn({ event: 'rows_not_written', rows: rows.length, error: String(cause) });
        await sleep(250, signal);
      }
    }
  }
}
