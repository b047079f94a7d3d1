import type { ViewDefinition } from '@millrace/features';
import { toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { viewId } from '../domain/view-record.ts';
import type { FillFromHistory } from './backfill.ts';
import type { Checkpointer } from './checkpointer.ts';
import type { ActiveView, Engine } from './engine.ts';
import type { VersionGate } from './expectations/version-gate.ts';
import type { RowRewriter } from './row-rewriter.ts';
import { sleep } from './sleep.ts';
import type { StateStore } from './state-store.ts';

const removeBatch = 1_000;
const retryMs = 2_000;
/** A version that is held back is looked at again after so many times as long as a look takes. */
const gateRest = 10;
/** After a version is ready the one before it is kept this long, so that every reader has switched. */
const graceMs = 5_000;

export type ViewKeeper = {
  /** The view versions that someone needs from now on: the current ones and those that a feature service pins. */
  want(definitions: readonly ViewDefinition[]): void;
  run(signal: AbortSignal): Promise<void>;
};

/** By view id. */
export type TellStates = (states: Readonly<Record<string, 'warming' | 'ready'>>) => void;

/**
 * Takes views through their life: new ones are filled from history and then written; unneeded ones are removed. A version that is
 * no longer wanted is kept until the versions that are wanted of its view are ready: feature services read it meanwhile.
 */
export function createViewKeeper(deps: {
  readonly engine: Engine;
  readonly store: StateStore;
  readonly checkpointer: Checkpointer;
  readonly fill: FillFromHistory;
  readonly rewrite: RowRewriter;
  readonly gate: VersionGate;
  readonly dropRows: (keys: readonly string[], definition: ViewDefinition) => Promise<void>;
  readonly tell: TellStates;
  readonly telemetry: Telemetry;
}): ViewKeeper {
  const { engine, store, telemetry } = deps;
  const readyAtMs = new Map<string, number>();
  const gateAtMs = new Map<string, number>();
  let wanted = new Map<string, ViewDefinition>();
  let wake = () => {};

  function tellStates(): void {
    const views = [...engine.views.values()].filter((view) => view.record.phase !== 'dropping');
    deps.tell(Object.fromEntries(views.map(({ id, record }) => [id, record.phase === 'ready' ? 'ready' : 'warming'])));
  }

  /** True while a version that takes its place is being filled, and for a little after that. */
  function isStillRead({ record }: ActiveView): boolean {
    if (record.phase !== 'ready') return false;
    return [...wanted].some(([id, { name }]) => {
      if (name !== record.definition.name) return false;
      return (
        engine.views.get(id)?.record.phase !== 'ready' ||
        performance.now() - (readyAtMs.get(id) ?? Number.NEGATIVE_INFINITY) < graceMs
      );
    });
  }

  function reconcile(): void {
    for (const [id, definition] of wanted) {
      if (engine.views.has(id)) continue;
      const view = engine.addView(definition);
      telemetry.log.info({ event: 'view_added', view: id, position: view.record.startPosition });
    }
    for (const view of engine.views.values()) {
      if (wanted.has(view.id) || view.record.phase === 'dropping' || isStillRead(view)) continue;
      engine.setPhase(view, 'dropping');
      telemetry.log.info({ event: 'view_dropping', view: view.id });
    }
    tellStates();
  }

  async function warm(view: ActiveView, signal: AbortSignal): Promise<void> {
    if (!view.held) {
      await deps.fill(view, signal);
      if (signal.aborted || view.record.phase !== 'warming') return;
      view.rowsEnabled = true;
      await deps.rewrite(view, signal);
      if (signal.aborted || view.record.phase !== 'warming') return;
    }
    if (await isHeld(view, signal)) return;
    if (signal.aborted || view.record.phase !== 'warming') return;
    view.error = '';
    view.progress = 1;
    engine.setPhase(view, 'ready');
    readyAtMs.set(view.id, performance.now());
    tellStates();
    setTimeout(() => {
      readyAtMs.delete(view.id);
      reconcile();
      wake();
    }, graceMs).unref();
    telemetry.log.info({ event: 'view_ready', view: view.id, entities: view.record.entities });
  }

  /** A gate that cannot answer (its results are not kept) is asked again, as one that says no; the view stays filled. */
  async function isHeld(view: ActiveView, signal: AbortSignal): Promise<boolean> {
    const startedMs = performance.now();
    const before = view.error;
    view.error = await deps.gate(view, signal).catch((cause) => toMeshError(cause, `view "${view.id}"`).message);
    view.held = view.error !== '';
    if (!view.held) return false;
    gateAtMs.set(view.id, performance.now() + Math.max(retryMs, gateRest * (performance.now() - startedMs)));
    if (view.error !== before) telemetry.log.warn({ event: 'view_held_back', view: view.id, reason: view.error });
    return true;
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
      if (phase === 'warming' && view.held && performance.now() < (gateAtMs.get(view.id) ?? 0)) continue;
      try {
        await (phase === 'warming' ? warm(view, signal) : drop(view, signal));
      } catch (cause) {
        view.error = toMeshError(cause, `view "${view.id}"`).message;
        telemetry.log.error({ event: 'view_failed', view: view.id, phase, error: view.error });
        if (phase === 'warming') await startOver(view);
        return false;
      }
    }
    return ![...engine.views.values()].some(({ held, record }) => held && record.phase === 'warming');
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
