import { setImmediate as turn } from 'node:timers/promises';
import type { DecodedBatch } from '@millrace/events';
import type { ViewDefinition } from '@millrace/features';
import { quietTelemetry } from '@millrace/runtime';
import { afterEach, expect, test } from 'vitest';
import { createComputeMetrics } from './compute-metrics.ts';
import { Engine } from './engine.ts';
import { createRowFlusher, type Row } from './row-flusher.ts';

const hourMs = 3_600_000;
const definition: ViewDefinition = {
  name: 'v',
  version: '1',
  entity: 'user',
  joinKeys: [{ name: 'user', type: 'STRING', field: 'user' }],
  source: 's',
  fields: [{ name: 'user', type: 'STRING', nullable: false }],
  features: [{ name: 'n', function: 'count', field: '', window: { t: 'lifetime' }, filter: '', ddof: 0 }],
};

const stops: AbortController[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop.abort();
});

/** Flushes an hour apart: what is written without being woken, or sooner than that, is written against the rules. */
function start() {
  const telemetry = quietTelemetry();
  const engine = new Engine(
    {
      readMeta: () => undefined,
      readNote: () => undefined,
      writeNote: async () => {},
      readState: () => undefined,
      commit: async () => {},
      scan: () => [],
      remove: async () => {},
      close: async () => {},
    },
    { shards: 2, entitiesInMemoryMax: 100 },
  );
  engine.setPhase(engine.addView(definition), 'ready');
  const flushes: (readonly string[])[] = [];
  let written = Promise.withResolvers<void>();
  const flusher = createRowFlusher({
    see: () => {},
    engine,
    writer: {
      write: async (rows: readonly Row[]) => {
        flushes.push(rows.map(({ key }) => key.slice('{user:'.length, -1)).sort());
        written.resolve();
        written = Promise.withResolvers();
        return { written: rows.length, stale: 0 };
      },
    },
    field: (view, version) => `${view}@${version}`,
    clock: { nowUs: () => 1_000_000 },
    telemetry,
    metrics: createComputeMetrics(telemetry.metrics),
    intervalMs: hourMs,
    rowsPerFlushMax: 100,
  });
  const stop = new AbortController();
  stops.push(stop);
  const done = flusher.run(stop.signal);
  return {
    flusher,
    flushes,
    stop,
    done,
    written: () => written.promise,
    event: (user: string) => {
      engine.apply(engine.position + 1, batchOf(user));
      flusher.wake();
    },
  };
}

function batchOf(user: string): DecodedBatch {
  return {
    source: 's',
    sourceVersion: '1',
    knownTimeUs: 1_000_000,
    count: 1,
    ids: [user],
    eventTimeUs: new Float64Array([1_000_000]),
    payloadHashes: new BigUint64Array(1),
    columns: new Map([['user', { type: 'str', values: [user], nulls: null }]]),
  };
}

async function turns(): Promise<void> {
  for (let i = 0; i < 50; i++) await turn();
}

test('an event that finds the flusher idle is written at once, with what came in the same turn', async () => {
  const { event, flushes, written } = start();
  await turns();
  const first = written();
  event('a');
  event('b');
  await first;
  expect(flushes).toEqual([['a', 'b']]);
});

test('an event that came before the flusher began to wait is not slept over', async () => {
  const { event, flushes, written } = start();
  const first = written();
  event('a');
  await first;
  expect(flushes).toEqual([['a']]);
});

test('a flush that wrote rows rests: what comes meanwhile goes into one later flush', async () => {
  const { event, flushes, flusher, stop, done, written } = start();
  const first = written();
  event('a');
  await first;
  for (let i = 0; i < 20; i++) {
    event(`k${i % 3}`);
    await turn();
  }
  await turns();
  expect(flushes).toEqual([['a']]);
  stop.abort();
  await done;
  await flusher.drain(new AbortController().signal);
  expect(flushes).toEqual([['a'], ['k0', 'k1', 'k2']]);
});

test('an idle flusher ends when it is told to', async () => {
  const { stop, done, flushes } = start();
  await turns();
  stop.abort();
  await done;
  expect(flushes).toEqual([]);
});
