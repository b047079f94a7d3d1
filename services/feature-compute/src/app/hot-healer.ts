import { newId, sleep } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { Engine } from './engine.ts';
import type { RowRewriter } from './row-rewriter.ts';
import type { StateStore } from './state-store.ts';

/** What tells whether Redis still holds what was written to it. */
export type HotIdentity = {
  /** Changes whenever the server process does: a restart may have lost the rows of its last second. */
  runId(): Promise<string>;
  /** False after the data were wiped. */
  epochPresent(): Promise<boolean>;
  setEpoch(id: string): Promise<void>;
};

const noteName = 'hot';

/**
 * Looks every `intervalMs` whether Redis lost rows (marker gone, or another server process) and writes all rows from the
 * states when it did. The marker is set first and the server noted last, so that a crash or a second loss half-way starts over.
 */
export async function runHotHealer(deps: {
  readonly engine: Engine;
  readonly store: StateStore;
  readonly hot: HotIdentity;
  readonly rewrite: RowRewriter;
  readonly telemetry: Telemetry;
  readonly intervalMs: number;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { engine, signal, telemetry } = deps;
  let known = deps.store.readNote(noteName);
  while (!signal.aborted) {
    try {
      await look();
    } catch (cause) {
      telemetry.log.warn({ event: 'hot_store_unreachable', error: String(cause) });
    }
    await sleep(deps.intervalMs, signal);
  }

  async function look(): Promise<void> {
    const [runId, present] = [await deps.hot.runId(), await deps.hot.epochPresent()];
    const lost = !present || runId !== known;
    if (lost) for (const view of engine.views.values()) if (view.rowsEnabled) view.rowsLost = true;
    const views = [...engine.views.values()].filter((view) => view.rowsLost && view.rowsEnabled);
    if (!lost && views.length === 0) return;
    engine.touch();
    if (lost) await deps.hot.setEpoch(newId());
    telemetry.log.info({
      event: 'rows_lost',
      views: views.length,
      markerPresent: present,
      sameServer: runId === known,
    });
    for (const view of views) await deps.rewrite(view, signal);
    if (signal.aborted) return;
    for (const view of views) view.rowsLost = false;
    engine.touch();
    if (!lost) return;
    await deps.store.writeNote(noteName, runId);
    known = runId;
  }
}
