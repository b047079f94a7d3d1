import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { Cell, Shard } from '../domain/cells.ts';
import type { ComputeMetrics } from './compute-metrics.ts';
import type { ActiveView, Engine } from './engine.ts';
import { sleep } from './sleep.ts';
import { createWakeUp } from './wake-up.ts';

export type Row = { readonly key: string; readonly field: string; readonly row: Buffer };

/** The hot store, newest position wins. */
export type RowWriter = { write(rows: readonly Row[]): Promise<{ written: number; stale: number }> };

export type RowFlusher = {
  /** Flushes until the signal aborts, never two flushes at once. */
  run(signal: AbortSignal): Promise<void>;
  /** Says that a row is behind: when flushes are idle one begins at once; when they are not, it waits for the next. */
  wake(): void;
  /** Flushes until no row is behind; for shutdown and tests. */
  drain(signal: AbortSignal): Promise<void>;
  /** The entities whose rows are on their way, by view id. */
  inFlight(): ReadonlyMap<string, readonly string[]>;
  /** Every event up to this position is in the rows of Redis. */
  rowPosition(): number;
  /** Counts flushes that left no row behind: two more than before means that everything marked before is written. */
  sweeps(): number;
  /** Remembers a trace that the next flush belongs to. */
  traced(traceparent: string): void;
};

type Taken = { readonly view: ActiveView; readonly shard: Shard; readonly cells: readonly Cell[] };

const retryDelayMsMax = 2_000;
/** A busy key costs a row for each flush: under load flushes rest half as long as their rows took to make, but no longer than this. */
const restMsMax = 100;
const linksMax = 16;

export function createRowFlusher(deps: {
  readonly engine: Engine;
  readonly writer: RowWriter;
  readonly field: (view: string, version: string) => string;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly metrics: ComputeMetrics;
  readonly intervalMs: number;
  readonly rowsPerFlushMax: number;
}): RowFlusher {
  const { engine, clock, metrics, telemetry } = deps;
  let taken: readonly Taken[] = [];
  let rowPosition = engine.position;
  let traces: string[] = [];
  let failures = 0;
  let sweeps = 0;
  let encodeMs = 0;
  let idle = false;
  const wakeUp = createWakeUp();

  /** One flush. True when rows are still behind. */
  async function flush(): Promise<boolean> {
    const position = engine.position;
    taken = takeDirty(engine, deps.rowsPerFlushMax);
    const more = engine.rowDirtyCount() > 0;
    idle = taken.length === 0;
    if (taken.length === 0) {
      rowPosition = position;
      sweeps++;
      encodeMs = 0;
      return false;
    }
    const startedMs = performance.now();
    const rows = encodeRows(taken, engine, deps.field, clock.nowUs());
    encodeMs = performance.now() - startedMs;
    const [parent, ...links] = traces;
    traces = [];
    try {
      const outcome = await telemetry.tracer.span(
        'rows.write',
        {
          kind: 'client',
          ...(parent === undefined ? {} : { parent }),
          links,
          attributes: { rows: rows.length, position },
        },
        () => deps.writer.write(rows),
      );
      failures = 0;
      metrics.rowsWritten(outcome.written, outcome.stale);
    } catch (cause) {
      failures++;
      for (const { shard, cells } of taken) for (const cell of cells) shard.markRow(cell);
      taken = [];
      metrics.rowWriteFailures.inc();
      telemetry.log.warn({ event: 'rows_not_written', rows: rows.length, failures, error: String(cause) });
      return true;
    }
    observeFreshness(taken, clock.nowUs(), metrics);
    taken = [];
    metrics.flushSeconds.observe((performance.now() - startedMs) / 1000);
    if (more) return true;
    rowPosition = position;
    sweeps++;
    return false;
  }

  return {
    run: async (signal) => {
      while (!signal.aborted) {
        const startedMs = performance.now();
        const more = await flush();
        if (failures > 0) await sleep(Math.min(retryDelayMsMax, 50 * 2 ** Math.min(failures, 6)), signal);
        else if (more) await sleep(0, signal);
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
      while (!signal.aborted && (await flush())) {
        if (failures > 3) return;
        if (failures > 0) await sleep(100, signal);
      }
    },
    inFlight: () => {
      const keysByView = new Map<string, string[]>();
      for (const { view, cells } of taken) {
        const keys = keysByView.get(view.id) ?? [];
        for (const cell of cells) keys.push(cell.key);
        keysByView.set(view.id, keys);
      }
      return keysByView;
    },
    rowPosition: () => (taken.length === 0 && engine.rowDirtyCount() === 0 ? engine.position : rowPosition),
    sweeps: () => sweeps,
    traced: (traceparent) => {
      if (traces.length < linksMax) traces.push(traceparent);
    },
  };
}

function takeDirty(engine: Engine, limit: number): readonly Taken[] {
  const taken: Taken[] = [];
  let room = limit;
  for (const view of engine.views.values()) {
    if (!view.rowsEnabled) continue;
    for (const shard of view.cells.shards) {
      if (room <= 0) return taken;
      if (shard.rowDirtyCount === 0) continue;
      const cells = shard.takeRowDirty(room);
      room -= cells.length;
      taken.push({ view, shard, cells });
    }
  }
  return taken;
}

function encodeRows(
  taken: readonly Taken[],
  engine: Engine,
  fieldOf: (view: string, version: string) => string,
  nowUs: number,
): readonly Row[] {
  const rows: Row[] = [];
  for (const { view, cells } of taken) {
    const { definition } = view.record;
    const field = fieldOf(definition.name, definition.version);
    const frontierUs = engine.frontiers.effective(definition.source, nowUs);
    for (const cell of cells) rows.push({ key: cell.key, field, row: view.cells.row(cell, frontierUs, nowUs) });
  }
  return rows;
}

/** Rows that carry a new event tell how long it took; rows that are only written again do not. */
function observeFreshness(taken: readonly Taken[], nowUs: number, metrics: ComputeMetrics): void {
  for (const { cells } of taken) {
    for (const cell of cells) {
      if (!cell.fresh) continue;
      cell.fresh = false;
      metrics.freshnessSeconds.observe(Math.max(0, nowUs - cell.knownTimeUs) / 1e6);
    }
  }
}
