import { type DecodedBatch, decodeEventBatch, encodeEventBatch } from '@millrace/events';
import type { FeatureDefinition, ViewDefinition, WindowSpec } from '@millrace/features';
import { createSystemClock } from '@millrace/kernel';
import { quietTelemetry } from '@millrace/runtime';
import { createComputeMetrics } from '../../services/feature-compute/src/app/compute-metrics.ts';
import { Engine } from '../../services/feature-compute/src/app/engine.ts';
import { createRowFlusher } from '../../services/feature-compute/src/app/row-flusher.ts';
import type { StateStore } from '../../services/feature-compute/src/app/state-store.ts';
import type { BenchCases, BenchContext } from './bench.ts';
import { measureEndToEnd } from './compute-e2e.ts';

const hourUs = 3_600e6;
const dayUs = 24 * hourUs;
const eventsPerBatch = 1_000;
/** Real messages arrive 1,000 events at a time; a flush every 10 ms of wall time, as in production. */
const flushIntervalMs = 10;

/** Events through tiles, timelines and row encoding of one view with 10 windowed features: in-process, and over real stores. */
export async function run({ progress }: Pick<BenchContext, 'progress'>): Promise<BenchCases> {
  progress('10 windowed features in-process');
  const inside = await inProcess();
  progress('the same over NATS, LMDB and Redis');
  const batches = benchBatches({ events: 200_000, entities: 300, eventsPerHour: 700 });
  return { '10-windows': inside, '10-windows-e2e': await measureEndToEnd(batches, benchView.source) };
}

const sliding = (sizeUs: number): WindowSpec => ({ t: 'sliding', sizeUs, hopUs: 0 });

function feature(name: string, fn: FeatureDefinition['function'], field: string, sizeUs: number): FeatureDefinition {
  return { name, function: fn, field, window: sliding(sizeUs), filter: '', ddof: 1 };
}

/** 10 features over 1 h, 3 h, 24 h and 7 d, as in the flights example. */
export const benchView: ViewDefinition = {
  name: 'origin_delays',
  version: '0123456789ab',
  entity: 'airport',
  joinKeys: [{ name: 'code', type: 'STRING', field: 'origin' }],
  source: 'bench_arrivals',
  fields: [
    { name: 'origin', type: 'STRING', nullable: false },
    { name: 'delay', type: 'DOUBLE', nullable: false },
    { name: 'distance', type: 'INT64', nullable: false },
  ],
  features: [
    feature('n_1h', 'count', '', hourUs),
    feature('mean_1h', 'mean', 'delay', hourUs),
    feature('max_1h', 'max', 'delay', hourUs),
    feature('n_3h', 'count', '', 3 * hourUs),
    feature('mean_3h', 'mean', 'delay', 3 * hourUs),
    feature('n_24h', 'count', '', dayUs),
    feature('mean_24h', 'mean', 'delay', dayUs),
    feature('sd_24h', 'stddev', 'delay', dayUs),
    feature('mean_7d', 'mean', 'delay', 7 * dayUs),
    feature('distance_7d', 'sum', 'distance', 7 * dayUs),
  ],
};

/** Batches of a source whose clock runs at `eventsPerHour`, over `entities` skewed keys. */
export function benchBatches(options: { events: number; entities: number; eventsPerHour: number }): DecodedBatch[] {
  const batches: DecodedBatch[] = [];
  let seed = 42;
  const random = () => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return seed / 2 ** 32;
  };
  const startUs = Date.UTC(2001, 0, 1) * 1000;
  for (let from = 0; from < options.events; from += eventsPerBatch) {
    const indexes = Array.from({ length: eventsPerBatch }, (_, i) => from + i);
    batches.push({
      source: benchView.source,
      sourceVersion: 'bench',
      knownTimeUs: Date.now() * 1000,
      ids: indexes.map((i) => `e${i}`),
      count: eventsPerBatch,
      eventTimeUs: Float64Array.from(indexes, (i) => startUs + Math.floor((i * hourUs) / options.eventsPerHour)),
      payloadHashes: new BigUint64Array(eventsPerBatch),
      columns: new Map([
        [
          'origin',
          { type: 'str', values: indexes.map(() => `A${Math.floor(random() ** 2 * options.entities)}`), nulls: null },
        ],
        [
          'delay',
          { type: 'f64', values: Float64Array.from(indexes, () => Math.round(random() * 90 - 15)), nulls: null },
        ],
        [
          'distance',
          { type: 'i64', values: BigInt64Array.from(indexes, () => BigInt(Math.floor(random() * 2_500))), nulls: null },
        ],
      ]),
    });
  }
  return batches;
}

async function inProcess(): Promise<Record<string, number>> {
  const events = 400_000;
  const batches = benchBatches({ events, entities: 300, eventsPerHour: 700 }).map((batch) =>
    decodeEventBatch(encodeEventBatch(batch)),
  );
  await measure(batches.slice(0, 100));
  const { seconds, rows, rowBytes } = await measure(batches);
  return {
    events_per_s: Math.round(events / seconds),
    rows_encoded: rows,
    row_bytes_mean: Math.round(rowBytes / rows),
  };
}

async function measure(batches: readonly DecodedBatch[]) {
  const telemetry = quietTelemetry();
  const engine = new Engine(emptyStore, { shards: 8, entitiesInMemoryMax: 1e6 });
  const metrics = createComputeMetrics(telemetry.metrics);
  const view = engine.addView(benchView);
  engine.setPhase(view, 'ready');
  let rows = 0;
  let rowBytes = 0;
  const flusher = createRowFlusher({
    see: () => {},
    engine,
    writer: {
      write: async (written) => {
        rows += written.length;
        for (const { row } of written) rowBytes += row.length;
        return { written: written.length, stale: 0 };
      },
    },
    field: (name, version) => `${name}@${version}`,
    clock: createSystemClock(),
    telemetry,
    metrics,
    intervalMs: flushIntervalMs,
    rowsPerFlushMax: 4_000,
  });
  const signal = new AbortController().signal;
  const startedMs = performance.now();
  let flushedMs = startedMs;
  for (const [index, batch] of batches.entries()) {
    engine.apply(index + 1, batch);
    if (performance.now() - flushedMs < flushIntervalMs) continue;
    await flusher.drain(signal);
    flushedMs = performance.now();
  }
  await flusher.drain(signal);
  return { seconds: (performance.now() - startedMs) / 1000, rows, rowBytes };
}

const emptyStore: StateStore = {
  readMeta: () => undefined,
  readNote: () => undefined,
  writeNote: async () => {},
  readState: () => undefined,
  commit: async () => {},
  scan: () => [],
  remove: async () => {},
  close: async () => {},
};
