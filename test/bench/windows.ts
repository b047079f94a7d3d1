import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import type { serving } from '@millrace/contracts';
import { eventually } from '@millrace/testkit';
import { column, type FullMesh, readRequest, startFullMesh, stringKeys } from '../support/full-mesh.ts';
import type { BenchCases, BenchContext, BenchUsage } from './bench.ts';
import { measureHotKey } from './windows/hot-key.ts';
import type { LiveRead, LoadPlan, LoadResult } from './windows/load.ts';
import { agrees, expectedValues } from './windows/oracle.ts';
import { type BenchEvent, createEvents, definitions, pageName, type World } from './windows/world.ts';

type Ordered = BenchEvent & { readonly order: number };

const batchMs = 10;
const warmUpS = 5;
const servicesMeasured = ['ingestion', 'feature-compute', 'online-serving'] as const;
const hourUs = 3_600_000_000;
/** After the last event: while it is all there, as each window empties, and when nothing is left. */
const asOfsUs = [1, 150e6, 290e6, 0.6 * hourUs, 1.02 * hourUs, 20 * hourUs, 26 * hourUs, 700 * hourUs, 722 * hourUs];

export const usage: BenchUsage = {
  options: {
    seconds: { default: 60, says: 'of load' },
    rate: { default: 10_000, says: 'events a second' },
    keys: { default: 10_000, says: 'entities' },
    'skip-hot-key': { default: false, says: 'without W8' },
  },
};

/**
 * W7 and W8 of the feature store's workloads. `windows`: 10,000 events/s of 10,000 keys (Zipf 1.1), 5 % up to an hour late, 1 % sent twice,
 * through ingestion, JetStream, feature-compute, Redis and online-serving into {5m, 1h, 24h, 30d} × {count, sum, mean, min, max, last,
 * distinct, p95}. `p99_ms` is from when a batch was due to leave until a read of online-serving reflects it; reads meanwhile and of
 * every key afterwards, at nine times, are compared with brute force. `hot-key`: one key with 432,000 events in a window of 12 h.
 */
export async function run({ number, flag, progress, signal }: BenchContext): Promise<BenchCases> {
  progress('starting the mesh');
  // what is live goes before history, as with npm start
  const mesh = await startFullMesh({ env: { MILLRACE_LOG_LEVEL: 'warn' }, historyNice: 19 });
  try {
    await mesh.apply(...definitions);
    await mesh.viewsReady(1);
    const windows = await measureWindows(mesh, number('rate'), number('seconds'), number('keys'), progress);
    signal.throwIfAborted();
    if (flag('skip-hot-key')) return { windows };
    return { windows, 'hot-key': await measureHotKey(mesh, progress) };
  } finally {
    await mesh.close();
  }
}

async function measureWindows(
  mesh: FullMesh,
  rate: number,
  seconds: number,
  keys: number,
  progress: (text: string) => void,
): Promise<Record<string, number>> {
  const batchEvents = Math.round((rate * batchMs) / 1000);
  const batches = Math.round(((seconds + warmUpS) * 1000) / batchMs);
  // the client encodes its batches first
  const startUs = Date.now() * 1000 + 3e6 + (batches * batchEvents * 12e6) / 1e6;
  const world: World = { startUs, eventsPerSecond: rate, keys, batchEvents };
  const plan: LoadPlan = {
    world,
    batches,
    warmUpBatches: (warmUpS * 1000) / batchMs,
    followEvery: 4,
    ingestion: mesh.service('ingestion').grpc,
    serving: mesh.service('online-serving').grpc,
  };
  progress(`${rate} events/s for ${seconds} s after ${warmUpS} s`);
  const worker = new Worker(new URL('./windows/load.ts', import.meta.url), { workerData: plan });
  const before = new Map(servicesMeasured.map((name) => [name, cpuMs(mesh.service(name).pid)]));
  const [result] = (await once(worker, 'message')) as [LoadResult];
  const cores = Object.fromEntries(
    servicesMeasured.map((name) => [
      `${name.replaceAll('-', '_')}_cores`,
      round((cpuMs(mesh.service(name).pid) - (before.get(name) ?? 0)) / 1000 / result.seconds),
    ]),
  );
  const last = Math.max(...result.positions);
  await eventually(async () => Number((await mesh.clients.compute.getStatus({})).rowPosition) >= last, {
    timeoutMs: 60_000,
  });
  progress('comparing with brute force');
  const compared = await compare(mesh, world, result, progress);
  const sent = batches * batchEvents;
  return {
    events_per_s: Math.round(sent / result.seconds),
    ...compared,
    p50_ms: percentile(result.readableMs, 0.5),
    p99_ms: percentile(result.readableMs, 0.99),
    max_ms: percentile(result.readableMs, 1),
    accepted_p99_ms: percentile(result.acceptedMs, 0.99),
    samples: result.readableMs.length,
    reads_refused: result.readsRefused,
    events: sent,
    ...cores,
  };
}

async function compare(
  mesh: FullMesh,
  world: World,
  { reads, positions }: LoadResult,
  progress: (text: string) => void,
): Promise<{ readonly compared: number; readonly mismatches: number }> {
  const byKey = eventsByKey(world, positions);
  let compared = 0;
  let mismatches = 0;
  const check = (events: readonly Ordered[], read: Omit<LiveRead, 'position'>, what: string) => {
    for (const [feature, expected] of expectedValues(events, read.asOfUs)) {
      compared++;
      const served = read.values[feature] ?? null;
      if (agrees(feature, served, expected)) continue;
      if (mismatches++ < 10)
        progress(
          `${what}: ${feature} of ${pageName(read.key)} as of ${read.asOfUs}: served ${served}, brute force says ${expected}`,
        );
    }
  };
  for (const read of reads) {
    const known = (byKey.get(read.key) ?? []).filter(({ order }) => order <= read.position);
    check(known, read, `at position ${read.position}`);
  }
  const keys = [...byKey.keys()];
  const endUs = world.startUs + Math.floor((positions.length * world.batchEvents * 1e6) / world.eventsPerSecond);
  for (const afterUs of asOfsUs) {
    for (let from = 0; from < keys.length; from += 500) {
      const some = keys.slice(from, from + 500);
      const request = readRequest('pages', [stringKeys('page', some.map(pageName))], endUs + afterUs);
      const response = await mesh.clients.features.getFeatures(request);
      const columns = columnsOf(response);
      for (const [row, key] of some.entries()) {
        const values = Object.fromEntries(columns.map(([name, column]) => [name, column[row] ?? null]));
        check(byKey.get(key) ?? [], { key, asOfUs: endUs + afterUs, values }, 'at the end');
      }
    }
  }
  return { compared, mismatches };
}

/** `order` is the position of an event's batch: events of one batch have one, and differ in their times. */
function eventsByKey(world: World, positions: readonly number[]): ReadonlyMap<number, readonly Ordered[]> {
  const eventOf = createEvents(world);
  const byKey = new Map<number, Ordered[]>();
  for (let number = 0; number < positions.length * world.batchEvents; number++) {
    const event = { ...eventOf(number), order: positions[Math.floor(number / world.batchEvents)] ?? 0 };
    const known = byKey.get(event.key);
    if (known) known.push(event);
    else byKey.set(event.key, [event]);
  }
  return byKey;
}

function columnsOf(response: serving.GetFeaturesResponse): (readonly [string, readonly (number | string | null)[]])[] {
  return response.features.map(({ name }) => [name.slice(name.indexOf('__') + 2), column(response, name)]);
}

/** User and system time of a process, in ticks of 10 ms. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN);
}

const round = (value: number): number => Math.round(value * 100) / 100;
