import type { ViewDefinition } from '@millrace/features';
import { toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { viewId } from '../domain/view-record.ts';
import type { FillFromHistory } from './backfill.ts';
import type { Checkpointer } from './checkpointer.ts';
import type { ActiveView, Engine } from './engine.ts';
import type { VersionGate } from './expectations/version-gate.ts';
import type { RowRewriter } from './row-rewriter.ts';
import type { StateStore } from './state-store.ts';
import { createWakeUp } from './wake-up.ts';

const removeBatch = 1_000;
/** Most views have nothing to read, and only wait for answers; how many read history at the same time is the filling's to say. */
const viewsAtOnce = 64;
const retryMs = 2_000;
const lookEveryMs = 500;
/** A version that is held back is looked at again after so many times as long as a look takes. */
const gateRest = 10;
/** After a version is ready the one before it is kept this long, so that every reader has switched. */
const graceMs = 5_000;
const graceEveryMs = 200;
/** The states of all views are one message, which thousands of views that get ready do not send thousands of times. */
const tellEveryMs = 50;

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
  const wakeUp = createWakeUp();
  /** Oldest first. */
  const readyAtMs = new Map<string, number>();
  const gateAtMs = new Map<string, number>();
  const underway = new Map<string, Promise<void>>();
  let wanted = new Map<string, ViewDefinition>();
  let wantedByName = new Map<string, readonly string[]>();
  let retryAtMs = 0;
  let toldAtMs = Number.NEGATIVE_INFINITY;
  let tellTimer: NodeJS.Timeout | undefined;
  let graceTimer: NodeJS.Timeout | undefined;

  function tellStates(): void {
    if (tellTimer !== undefined) return;
    const restMs = toldAtMs + tellEveryMs - performance.now();
    if (restMs <= 0) tellNow();
    else tellTimer = setTimeout(tellNow, restMs).unref();
  }

  function tellNow(): void {
    tellTimer = undefined;
    toldAtMs = performance.now();
    const views = [...engine.views.values()].filter((view) => view.record.phase !== 'dropping');
    deps.tell(Object.fromEntries(views.map(({ id, record }) => [id, record.phase === 'ready' ? 'ready' : 'warming'])));
  }

  /** True while a version that takes its place is being filled, and for a little after that. */
  function isStillRead({ record }: ActiveView): boolean {
    if (record.phase !== 'ready') return false;
    return (wantedByName.get(record.definition.name) ?? []).some(
      (id) =>
        engine.views.get(id)?.record.phase !== 'ready' ||
        performance.now() - (readyAtMs.get(id) ?? Number.NEGATIVE_INFINITY) < graceMs,
    );
  }

  function endGraces(): void {
    graceTimer = undefined;
    for (const [id, atMs] of readyAtMs) if (performance.now() - atMs >= graceMs) readyAtMs.delete(id);
    reconcile();
    wakeUp.wake();
    beginGrace();
  }

  /** One timer for all: after the first views' grace, and then for those that got ready since. */
  function beginGrace(): void {
    const [oldest] = readyAtMs.values();
    if (graceTimer !== undefined || oldest === undefined) return;
    graceTimer = setTimeout(endGraces, Math.max(graceEveryMs, oldest + graceMs - performance.now())).unref();
  }

  function reconcile(): void {
    for (const [id, definition] of wanted) {
      // one that starts over is not there for a moment
      if (engine.views.has(id) || underway.has(id)) continue;
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
    beginGrace();
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
  }

  /** What failed is tried again after all others. */
  function due(): readonly ActiveView[] {
    const nowMs = performance.now();
    if (nowMs < retryAtMs) return [];
    const views = [...engine.views.values()].filter((view) => {
      if (view.record.phase === 'ready' || underway.has(view.id)) return false;
      return !view.held || view.record.phase === 'dropping' || nowMs >= (gateAtMs.get(view.id) ?? 0);
    });
    return [...views.filter(({ error }) => error === ''), ...views.filter(({ error }) => error !== '')];
  }

  async function step(view: ActiveView, signal: AbortSignal): Promise<void> {
    const { phase } = view.record;
    try {
      await (phase === 'warming' ? warm(view, signal) : drop(view, signal));
    } catch (cause) {
      // a stop cuts off what is read: the view starts over when the process does
      if (signal.aborted) return;
      const before = view.error;
      view.error = toMeshError(cause, `view "${view.id}"`).message;
      if (view.error !== before) telemetry.log.error({ event: 'view_failed', view: view.id, phase, error: view.error });
      // what one view's store does not answer, it does not answer thousands either
      retryAtMs = performance.now() + retryMs;
      if (phase === 'warming' && view.isMerged) await startOver(view);
    }
  }

  /** History has been merged, perhaps in part: only an empty state is a sound start. */
  async function startOver(view: ActiveView): Promise<void> {
    const { error, record } = view;
    engine.forget(view);
    await deps.checkpointer.checkpoint();
    await wipeStates(store, view.id);
    if (wanted.has(view.id)) engine.addView(record.definition).error = error;
  }

  function begin(view: ActiveView, signal: AbortSignal, failed: (cause: unknown) => void): void {
    const done = step(view, signal)
      .catch(failed)
      .finally(() => {
        underway.delete(view.id);
        // its place may be wanted again
        if (!engine.views.has(view.id)) reconcile();
        wakeUp.wake();
      });
    underway.set(view.id, done);
  }

  return {
    want: (definitions) => {
      wanted = new Map(definitions.map((definition) => [viewId(definition.name, definition.version), definition]));
      wantedByName = new Map();
      for (const [id, { name }] of wanted) wantedByName.set(name, [...(wantedByName.get(name) ?? []), id]);
      reconcile();
      wakeUp.wake();
    },
    run: async (signal) => {
      let failure: { readonly cause: unknown } | undefined;
      const failed = (cause: unknown) => {
        failure ??= { cause };
      };
      while (!signal.aborted && failure === undefined) {
        for (const view of due()) {
          if (underway.size >= viewsAtOnce) break;
          begin(view, signal, failed);
        }
        const isSettled = [...engine.views.values()].every(({ record }) => record.phase === 'ready');
        await wakeUp.wait(isSettled ? 60_000 : lookEveryMs, signal);
      }
      clearTimeout(tellTimer);
      clearTimeout(graceTimer);
      if (failure !== undefined) throw failure.cause;
      await Promise.all(underway.values());
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
