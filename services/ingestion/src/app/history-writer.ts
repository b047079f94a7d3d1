import { sleep } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { PackedBatch } from '../domain/pack.ts';
import type { SourceDefinition } from '../domain/source-validator.ts';
import type { IngestionMetrics } from './ingestion-metrics.ts';

export type HistoryMessage = { readonly seq: number; readonly batch: PackedBatch; readonly pending: number };

/** A source's table in ClickHouse. */
export type HistoryStore = {
  /** Makes the table fit the source; says which position and how many rows it has. */
  open(source: SourceDefinition): Promise<{ position: number; rows: number }>;
  /** One atomic block: all rows or none. */
  insert(source: SourceDefinition, batches: readonly HistoryMessage[]): Promise<number>;
};

export type HistoryProgress = { readonly position: number; readonly rows: number };

export type HistoryWriter = {
  /** The sources to write; called again whenever the registry changes. */
  want(sources: readonly SourceDefinition[]): void;
  /** How far a source's table is; undefined before it is known. */
  progress(source: string): HistoryProgress | undefined;
  /** Settles when every loop has ended after the signal. */
  stopped(): Promise<void>;
};

type Loop = { definition: SourceDefinition; position: number; rows: number; known: boolean };

/**
 * EVENTS → ClickHouse, each event exactly once: one loop a source, one insert at a time, one block an insert, in strictly
 * increasing position. After a start or any failure the loop asks the table for its largest position and goes on from there, so
 * it does not matter whether a block whose answer was lost had been written.
 */
export function createHistoryWriter(deps: {
  readonly store: HistoryStore;
  readonly read: (source: string, fromSeq: number, signal: AbortSignal) => AsyncIterable<HistoryMessage>;
  readonly telemetry: Telemetry;
  readonly metrics: IngestionMetrics;
  readonly signal: AbortSignal;
  readonly limits: { readonly historyFlushIntervalMs: number; readonly historyFlushRowsMax: number };
}): HistoryWriter {
  const { store, telemetry, metrics, signal } = deps;
  const { historyFlushIntervalMs: intervalMs, historyFlushRowsMax: rowsMax } = deps.limits;
  const loops = new Map<string, Loop>();
  const running: Promise<void>[] = [];

  return {
    want(sources) {
      for (const definition of sources) {
        const loop = loops.get(definition.name);
        if (loop !== undefined) {
          loop.definition = definition;
          continue;
        }
        const fresh = { definition, position: 0, rows: 0, known: false };
        loops.set(definition.name, fresh);
        running.push(keepWriting(fresh));
      }
    },
    progress: (source) => {
      const loop = loops.get(source);
      return loop?.known ? { position: loop.position, rows: loop.rows } : undefined;
    },
    stopped: async () => {
      await Promise.all(running);
    },
  };

  async function keepWriting(loop: Loop): Promise<void> {
    let backoffMs = 100;
    while (!signal.aborted) {
      try {
        await writeFrom(loop, () => {
          backoffMs = 100;
        });
      } catch (cause) {
        if (signal.aborted) return;
        metrics.historyFailed(loop.definition.name);
        const error = cause instanceof Error ? cause.message : String(cause);
        telemetry.log.warn({ event: 'history_retry', source: loop.definition.name, error, backoffMs });
        await sleep(backoffMs, signal);
        backoffMs = Math.min(backoffMs * 2, 5_000);
      }
    }
  }

  /** Returns when the source's version has changed, so that the table is opened again with its new fields. */
  async function writeFrom(loop: Loop, onWritten: () => void): Promise<void> {
    const definition = loop.definition;
    const opened = await store.open(definition);
    loop.position = opened.position;
    loop.rows = opened.rows;
    loop.known = true;
    const stop = new AbortController();
    const messages = deps.read(definition.name, opened.position + 1, AbortSignal.any([signal, stop.signal]));
    try {
      for await (const group of groups(messages, { intervalMs, rowsMax })) {
        const last = group.at(-1);
        if (last === undefined) continue;
        if (loop.definition.version !== definition.version) return;
        const startedMs = performance.now();
        const rows = await store.insert(definition, group);
        loop.position = last.seq;
        loop.rows += rows;
        metrics.historyWritten(definition.name, rows, (performance.now() - startedMs) / 1000, last.pending);
        onWritten();
      }
    } finally {
      stop.abort();
    }
  }
}

/** Messages in groups of at least `rowsMax` rows, or whatever has come `intervalMs` after a group's first. */
async function* groups(
  messages: AsyncIterable<HistoryMessage>,
  { intervalMs, rowsMax }: { readonly intervalMs: number; readonly rowsMax: number },
): AsyncIterable<HistoryMessage[]> {
  const iterator = messages[Symbol.asyncIterator]();
  let next = iterator.next();
  for (;;) {
    const first = await next;
    if (first.done) return;
    const group = [first.value];
    let rows = first.value.batch.count;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'late'>((resolve) => {
      timer = setTimeout(() => resolve('late'), intervalMs);
    });
    next = iterator.next();
    let ended = false;
    while (rows < rowsMax) {
      const came = await Promise.race([next, late]);
      if (came === 'late') break;
      if (came.done) {
        ended = true;
        break;
      }
      group.push(came.value);
      rows += came.value.batch.count;
      next = iterator.next();
    }
    clearTimeout(timer);
    next.catch(() => {});
    yield group;
    if (ended) return;
  }
}
