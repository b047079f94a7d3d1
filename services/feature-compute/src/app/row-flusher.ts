import { setImmediate as turn } from 'node:timers/promises';
import type { ViewDefinition } from '@millrace/features';
import { type Clock, sleep } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { type Arena, createArena } from '../domain/arena.ts';
import type { Cell, Shard } from '../domain/cells.ts';
import type { ComputeMetrics } from './compute-metrics.ts';
import type { ActiveView, Engine } from './engine.ts';
import { createWakeUp } from './wake-up.ts';

/** An empty row stands for none. */
export type Row = {
  readonly key: string;
  readonly field: string;
  readonly row: Buffer;
  /** Whose row it is: a field does not tell. */
  readonly view: Pick<ViewDefinition, 'name' | 'version'>;
};

/** The hot store, newest position wins; an empty row is removed. The memory of rows is used again once it has resolved. */
export type RowWriter = { write(rows: readonly Row[]): Promise<{ written: number; stale: number }> };

/** Looks at rows of a view that is served, once they are written; their memory is used again when it returns. */
type SeeRows = (definition: ViewDefinition, rows: readonly Row[]) => void;

export type RowFlusher = {
  /** Flushes until the signal aborts, never two flushes at once. A sweep over the rows that are behind takes as many flushes as it needs. */
  run(signal: AbortSignal): Promise<void>;
  /** Says that a row is behind: when flushes are idle one begins at once; when they are not, it waits for the next. */
  wake(): void;
  /** Flushes until no row is behind; for shutdown and tests. */
  drain(signal: AbortSignal): Promise<void>;
  /** The entities whose rows are on their way, by view id. */
  inFlight(): ReadonlyMap<string, readonly string[]>;
  /** Every event up to this position is in the rows of Redis. */
  rowPosition(): number;
  /** Counts sweeps over all rows that were behind: two more than before means that everything marked before is written. */
  sweeps(): number;
  /** Remembers a trace that the next flush belongs to. */
  traced(traceparent: string): void;
};

/** Rows on their way; those that carry a new event tell how long it took, those that are only written again do not. */
type Made = {
  readonly rows: readonly Row[];
  /** Where the rows lie. */
  readonly arena: Arena;
  readonly behind: readonly Behind[];
  readonly fresh: readonly { readonly cell: Cell; readonly knownTimeUs: number }[];
};
type Behind = { readonly view: ActiveView; readonly shard: Shard; readonly cell: Cell };

const retryDelayMsMax = 2_000;
/** How long rows are made before they are written and events get a turn. */
const encodeMsMax = 8;
const writesMax = 2;
/** A busy key costs a row for each flush: under load sweeps rest half as long as their rows took to make, but no longer than this. */
const restMsMax = 20;
const linksMax = 16;

export function createRowFlusher(deps: {
  readonly engine: Engine;
  readonly writer: RowWriter;
  readonly field: (view: string, version: string) => string;
  readonly see: SeeRows;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly metrics: ComputeMetrics;
  readonly intervalMs: number;
  readonly rowsPerFlushMax: number;
}): RowFlusher {
  const { engine, clock, metrics, telemetry } = deps;
  /** Every row that was behind when the sweep began, and how many of them are made. */
  let sweep: readonly Behind[] = [];
  let made = 0;
  let sweepPosition = engine.position;
  let sweepFailed = false;
  /** Writes that are under way: Redis takes one while the next is made. An entity has one row in a sweep, so they may overtake each other. */
  const writes = new Map<Promise<void>, readonly Behind[]>();
  let rowPosition = engine.position;
  let traces: string[] = [];
  let failures = 0;
  let sweeps = 0;
  let encodeMs = 0;
  let idle = false;
  const arenas: Arena[] = [];
  const wakeUp = createWakeUp();

  function beginSweep(): void {
    sweepPosition = engine.reflectedPosition();
    sweepFailed = false;
    sweep = takeDirty(engine);
    made = 0;
    encodeMs = 0;
    idle = sweep.length === 0;
  }

  function endSweep(): void {
    sweep = [];
    made = 0;
    if (sweepFailed) return;
    rowPosition = sweepPosition;
    sweeps++;
  }

  /** Makes and writes some rows of the sweep, or of a new one. True when some of it are left. */
  async function flush(): Promise<boolean> {
    if (made === sweep.length) beginSweep();
    const startedMs = performance.now();
    const next = makeRows();
    encodeMs += performance.now() - startedMs;
    if (next.rows.length > 0) {
      const done = write(next, startedMs);
      writes.set(done, next.behind);
      void done.then(() => writes.delete(done));
    } else arenas.push(next.arena);
    if (made < sweep.length) {
      if (writes.size >= writesMax) await Promise.race(writes.keys());
      return true;
    }
    await Promise.all(writes.keys());
    endSweep();
    return false;
  }

  /** As many as the limits of one write allow. */
  function makeRows(): Made {
    const rows: Row[] = [];
    const behind: Behind[] = [];
    const fresh: { cell: Cell; knownTimeUs: number }[] = [];
    const arena = arenas.pop() ?? createArena();
    const nowUs = clock.nowUs();
    const endMs = performance.now() + encodeMsMax;
    while (made < sweep.length && rows.length < deps.rowsPerFlushMax) {
      const next = sweep[made++] as Behind;
      next.cell.rowDirty = false;
      // it may have been taken out of service meanwhile
      if (!next.view.rowsEnabled) next.shard.markRow(next.cell);
      else {
        rows.push(rowOf(next, engine, deps.field, nowUs, arena));
        behind.push(next);
        if (next.cell.fresh) fresh.push({ cell: next.cell, knownTimeUs: next.cell.knownTimeUs });
        next.cell.fresh = false;
        if (performance.now() >= endMs) break;
      }
    }
    return { rows, arena, behind, fresh };
  }

  async function write({ rows, arena, behind, fresh }: Made, startedMs: number): Promise<void> {
    const [parent, ...links] = traces;
    traces = [];
    try {
      const outcome = await telemetry.tracer.span(
        'rows.write',
        {
          kind: 'client',
          ...(parent === undefined ? {} : { parent }),
          links,
          attributes: { rows: rows.length, position: sweepPosition },
        },
        () => deps.writer.write(rows),
      );
      failures = 0;
      metrics.rowsWritten(outcome.written, outcome.stale);
      const nowUs = clock.nowUs();
      for (const { knownTimeUs } of fresh) metrics.freshnessSeconds.observe(Math.max(0, nowUs - knownTimeUs) / 1e6);
      metrics.flushSeconds.observe((performance.now() - startedMs) / 1000);
      seeWritten(rows, behind, deps.see);
    } catch (cause) {
      failures++;
      sweepFailed = true;
      for (const { shard, cell } of behind) shard.markRow(cell);
      for (const { cell } of fresh) cell.fresh = true;
      metrics.rowWriteFailures.inc();
      telemetry.log.warn({ event: 'rows_not_written', rows: rows.length, failures, error: String(cause) });
    } finally {
      arena.reset();
      arenas.push(arena);
    }
  }

  const isBehind = () => made < sweep.length || engine.rowDirtyCount() > 0;

  return {
    run: async (signal) => {
      while (!signal.aborted) {
        const startedMs = performance.now();
        const more = await flush();
        if (failures > 0) await sleep(Math.min(retryDelayMsMax, 50 * 2 ** Math.min(failures, 6)), signal);
        else if (more) await turn();
        else if (idle) {
          await wakeUp.wait(deps.intervalMs, signal);
          // what else has come with the event that woke is in the same flush
          await turn();
        } else {
          const leftMs = deps.intervalMs - (performance.now() - startedMs);
          await sleep(Math.max(0, leftMs, Math.min(restMsMax, encodeMs / 2)), signal);
        }
      }
    },
    wake: () => wakeUp.wake(),
    drain: async (signal) => {
      for (let more = true; more && !signal.aborted; ) {
        more = (await flush()) || isBehind();
        if (failures > 3) return;
        if (failures > 0) await sleep(100, signal);
      }
    },
    inFlight: () => {
      const keysByView = new Map<string, string[]>();
      for (const { view, cell } of [...[...writes.values()].flat(), ...sweep.slice(made)]) {
        const keys = keysByView.get(view.id);
        if (keys) keys.push(cell.key);
        else keysByView.set(view.id, [cell.key]);
      }
      return keysByView;
    },
    rowPosition: () =>
      Math.min(engine.reflectedPosition(), writes.size === 0 && !isBehind() ? engine.position : rowPosition),
    sweeps: () => sweeps,
    traced: (traceparent) => {
      if (traces.length < linksMax) traces.push(traceparent);
    },
  };
}

/**
 * In the order in which they fell behind, as near as every shard's own order tells: a row that fell behind early in the last sweep is not made late in
 * this one, which would make it wait for almost two.
 */
function takeDirty(engine: Engine): readonly Behind[] {
  const taken: { readonly at: number; readonly behind: Behind }[] = [];
  for (const view of engine.views.values()) {
    if (!view.rowsEnabled) continue;
    for (const shard of view.cells.shards) {
      const cells = shard.takeRowDirty();
      for (const [index, cell] of cells.entries())
        taken.push({ at: index / cells.length, behind: { view, shard, cell } });
    }
  }
  return taken.sort((a, b) => a.at - b.at).map(({ behind }) => behind);
}

function rowOf(
  { view, cell }: Behind,
  engine: Engine,
  fieldOf: (view: string, version: string) => string,
  nowUs: number,
  { take }: Arena,
): Row {
  const { definition } = view.record;
  const frontierUs = engine.frontiers.effective(definition.source, nowUs);
  return {
    key: cell.key,
    field: fieldOf(definition.name, definition.version),
    row: view.cells.row(cell, frontierUs, nowUs, take),
    view: definition,
  };
}

function seeWritten(rows: readonly Row[], behind: readonly Behind[], see: SeeRows): void {
  const rowsOf = new Map<ActiveView, Row[]>();
  for (const [at, { view }] of behind.entries()) {
    const row = rows[at];
    if (row === undefined || view.record.phase !== 'ready') continue;
    const own = rowsOf.get(view);
    if (own === undefined) rowsOf.set(view, [row]);
    else own.push(row);
  }
  for (const [view, own] of rowsOf) see(view.record.definition, own);
}
