import type { ViewDefinition } from '@millrace/features';
import { toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { viewId } from '../domain/view-record.ts';
import type { FillFromHistory } from './backfill.ts';
import type { Checkpointer } from './checkpointer.ts';
import type { ActiveView, Engine } from './engine.ts';
import type { RowRewriter } from './row-rewriter.ts';
import { sleep } from './sleep.ts';
import type { StateStore } from './state-store.ts';

const removeBatch = 1_000;
const retryMs = 2_000;

export type ViewKeeper = {
  /** The view versions that someone needs from now on: the current ones and those that a feature service pins. */
  want(definitions: readonly ViewDefinition[]): void;
  run(signal: AbortSignal): Promise<void>;
};

/** Takes views through their life: new ones are filled from history and then written; unneeded ones are removed. */
export function createViewKeeper(deps: {
  readonly engine: Engine;
  readonly store: StateStore;
  readonly checkpointer: Checkpointer;
  readonly fill: FillFromHistory;
  readonly rewrite: RowRewriter;
  readonly dropRows: (keys: readonly string[], definition: ViewDefinition) => Promise<void>;
  readonly telemetry: Telemetry;
}): ViewKeeper {
  const { engine, store, telemetry } = deps;
  let wanted = new Map<string, ViewDefinition>();
  let wake = () => {};

  function reconcile(): void {
    for (const [id, definition] of wanted) {
      if (engine.views.has(id)) continue;
      const view = engine.addView(definition);
      telemetry.log.info({ event: 'view_added', view: id, position: view.record.startPosition });
    }
    for (const view of engine.views.values()) {
      if (wanted.has(view.id) || view.record.phase === 'dropping') continue;
      engine.setPhase(view, 'dropping');
      telemetry.log.info({ event: 'view_dropping', view: view.id });
    }
  }

  async function warm(view: ActiveView, signal: AbortSignal): Promise<void> {
    await deps.fill(view, signal);
    if (signal.aborted || view.record.phase !== 'warming') return;
    view.rowsEnabled = true;
    await deps.rewrite(view, signal);
    if (signal.aborted || view.record.phase !== 'warming') return;
    view.error = '';
    view.progress = 1;
    engine.setPhase(view, 'ready');
    telemetry.log.info({ event: 'view_ready', view: view.id, entities: view.record.entities });
  }

  async function drop(view: ActiveView, signal: AbortSignal): Promise<void> {
    // the working set must be saved before it can be listed
    await deps.checkpointer.checkpoint();
    for (;;) {
      const keys = store.scan(view.id, undefined, removeBatch).map(({ entityKey }) => entityKey);
      if (keys.length === 0 || signal.aborted) break;
      await deps.dropRows(keys, view.record.definition);
      await store.remove(view.id, keys);
    }
    if (signal.aborted) return;
    engine.forget(view);
    telemetry.log.info({ event: 'view_dropped', view: view.id });
    reconcile();
  }

  async function work(signal: AbortSignal): Promise<boolean> {
    for (const view of engine.views.values()) {
      const { phase } = view.record;
      if (phase === 'ready' || signal.aborted) continue;
      try {
        await (phase === 'warming' ? warm(view, signal) : drop(view, signal));
      } catch (cause) {
        view.error = toMeshError(cause, `view "${view.id}"`).message;
        telemetry.log.error({ event: 'view_failed', view: view.id, phase, error: view.error });
        if (phase === 'warming') await startOver(view);
        return false;
      }
    }
    return true;
  }

  /** History may have been merged in part: only an empty state is a sound start. */
  async function startOver(view: ActiveView): Promise<void> {
    const { error, record } = view;
    engine.forget(view);
    await deps.checkpointer.checkpoint();
    await wipeStates(store, view.id);
    if (wanted.has(view.id)) engine.addView(record.definition).error = error;
  }

  return {
    want: (definitions) => {
      wanted = new Map(definitions.map((definition) => [viewId(definition.name, definition.version), definition]));
      reconcile();
      wake();
    },
    run: async (signal) => {
      while (!signal.aborted) {
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        const settled = await work(signal);
        const idle = settled && [...engine.views.values()].every((view) => view.record.phase === 'ready');
        if (idle) await Promise.race([woken, sleep(60_000, signal)]);
        else if (!settled) await sleep(retryMs, signal);
      }
    },
  };
}

/** Removes every saved state of a view. */
export async function wipeStates(store: StateStore, id: string): Promise<void> {
  for (;;) {
    const keys = store.scan(id, undefined, removeBatch).map(({ entityKey }) => entityKey);
    if (keys.length === 0) return;
    await store.remove(id, keys);
  }
}
