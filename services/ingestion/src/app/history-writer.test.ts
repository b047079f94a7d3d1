import { definitions } from '@millrace/contracts';
import { quietTelemetry } from '@millrace/runtime';
import { eventually } from '@millrace/testkit';
import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import type { PackedBatch } from '../domain/pack.ts';
import { createHistoryWriter, type HistoryMessage, type HistoryStore } from './history-writer.ts';
import { createIngestionMetrics } from './ingestion-metrics.ts';

const source = (version: string) => ({ name: 's', version, spec: definitions.Source.fromPartial({}) });
const stops: AbortController[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop.abort();
});

/** A table that can fail before or after a block is written: the second is an answer that got lost. */
function table(failures: readonly ('before' | 'after' | 'none')[]) {
  const rows: number[] = [];
  const blocks: number[][] = [];
  let insert = 0;
  const store: HistoryStore = {
    open: async () => ({ position: rows.at(-1) ?? 0, rows: rows.length }),
    async insert(_source, batches) {
      const failure = failures[insert++] ?? 'none';
      if (failure === 'before') throw new Error('refused');
      const seqs = batches.map(({ seq }) => seq);
      rows.push(...seqs);
      blocks.push(seqs);
      if (failure === 'after') throw new Error('the answer was lost');
      return seqs.length;
    },
  };
  return { store, rows, blocks };
}

function start(store: HistoryStore, messages: number, rowsMax = 4) {
  const stop = new AbortController();
  stops.push(stop);
  const telemetry = quietTelemetry();
  const writer = createHistoryWriter({
    store,
    async *read(_source, fromSeq, signal) {
      for (let seq = fromSeq; seq <= messages; seq++) {
        yield { seq, batch: { count: 1 } as PackedBatch, pending: messages - seq } satisfies HistoryMessage;
      }
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    },
    telemetry,
    metrics: createIngestionMetrics(telemetry.metrics),
    signal: stop.signal,
    limits: { historyFlushIntervalMs: 5, historyFlushRowsMax: rowsMax },
  });
  return { writer, stop };
}

test('every message is written once, in order, in large blocks', async () => {
  const { store, rows, blocks } = table([]);
  const { writer } = start(store, 10);
  writer.want([source('v1')]);
  await eventually(() => expect(rows).toHaveLength(10));
  expect(rows).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(blocks[0]).toEqual([1, 2, 3, 4]);
  await eventually(() => expect(writer.progress('s')).toEqual({ position: 10, rows: 10 }));
});

test('failures before and after a block is written neither lose nor repeat a message', async () => {
  const failure = fc.constantFrom('before' as const, 'after' as const, 'none' as const);
  await fc.assert(
    fc.asyncProperty(fc.array(failure, { maxLength: 3 }), async (failures) => {
      const { store, rows } = table(failures);
      const { writer, stop } = start(store, 9);
      writer.want([source('v1')]);
      await eventually(() => expect(rows).toHaveLength(9), { timeoutMs: 5_000 });
      expect(rows).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
      stop.abort();
      await writer.stopped();
    }),
    { numRuns: 12 },
  );
});
