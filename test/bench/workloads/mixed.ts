import { registry, serving } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { eventually } from '@millrace/testkit';
import { build } from 'hdr-histogram-js';
import { type FullMesh, readRequest, startFullMesh } from '../../support/full-mesh.ts';
import {
  entities,
  entityDefinition,
  featureNames,
  perView,
  requestKeys,
  serviceOf,
  viewDefinitions,
} from '../feast/data.ts';
import { int64Keys } from './keys.ts';
import { type Metrics, sleep, type WorkloadContext } from './workload.ts';

const sources = 5;
const pushesPerS = 500;
const readsPerS = 200;
const rowsOfRead = 10;
const followEvery = 10;
const pollMs = 3;
const warmUpMs = 5_000;
const preloadEvents = 1_000;

/**
 * W13: 500 pushes/s of one row, in turns to five sources, and 200 reads/s of 10 entities × 50 features, both open loop: times count from when a
 * push or read was due. Every tenth push is followed until a read answers with it, which adds reads of one entity.
 */
export async function measureMixed({ seconds, progress, signal }: WorkloadContext): Promise<Metrics> {
  const mesh = await startFullMesh({ env: { MILLRACE_LOG_LEVEL: 'warn' }, historyNice: 19 });
  try {
    const views = Array.from({ length: sources }, (_, v) =>
      viewDefinitions(`view_${v}`, `source_${v}`, featureNames(perView, v * perView)),
    ).flat();
    const defined = [entityDefinition, ...views, serviceOf(sources * perView)];
    await mesh.clients.registry.apply(registry.ApplyRequest.fromPartial({ definitions: defined as never }) as never);
    await mesh.viewsReady(sources);
    progress(`W13: ${entities} rows of each of ${sources} views first`);
    await preload(mesh);
    progress(`W13: ${pushesPerS} pushes/s and ${readsPerS} reads/s for ${seconds} s`);
    return await drive(mesh, seconds, signal);
  } finally {
    await mesh.close();
  }
}

function eventOf(id: string, source: number, entity: number, value: number) {
  const fields = featureNames(perView, source * perView).map((name) => [name, value]);
  const json = Buffer.from(JSON.stringify({ entity, ...Object.fromEntries(fields) }));
  return { id, eventTimeUs: BigInt(Date.now()) * 1000n, json };
}

async function preload(mesh: FullMesh): Promise<void> {
  let last = 0n;
  for (let source = 0; source < sources; source++) {
    for (let from = 0; from < entities; from += preloadEvents) {
      const events = Array.from({ length: preloadEvents }, (_, i) => eventOf(`first-${from + i}`, source, from + i, 0));
      last = (await mesh.clients.ingestion.publish({ source: `source_${source}`, events })).position;
    }
  }
  await eventually(async () => (await mesh.clients.compute.getStatus({})).rowPosition >= last, { timeoutMs: 60_000 });
}

async function drive(mesh: FullMesh, seconds: number, signal: AbortSignal): Promise<Metrics> {
  const { ingestion, features } = mesh.clients;
  const times = { read: histogram(), push: histogram(), fresh: histogram() };
  const counts = { reads_refused: 0, pushes: 0, reads: 0 };
  const startMs = performance.now() + 100;
  const totalMs = warmUpMs + seconds * 1000;
  const record = (name: keyof typeof times, dueMs: number) => {
    if (dueMs - startMs >= warmUpMs)
      times[name].recordValue(Math.max(1, Math.round((performance.now() - dueMs) * 1000)));
  };
  const orRefused = (error: unknown) => {
    if (!(error instanceof MeshError) || error.reason !== 'OVERLOADED') throw error;
    counts.reads_refused++;
  };

  async function push(n: number, dueMs: number): Promise<void> {
    const source = n % sources;
    const entity = (n * 7919) % entities;
    const events = [eventOf(`push-${n}`, source, entity, n)];
    const { position, accepted } = await ingestion.publish({ source: `source_${source}`, events });
    if (accepted !== 1) throw new Error(`push ${n} was not accepted`);
    counts.pushes++;
    record('push', dueMs);
    if (n % followEvery !== 0) return;
    const request = readRequest(`service_${sources * perView}`, [int64Keys('entity', [entity])], 0);
    for (;;) {
      const answer = await features.getFeatures(request).catch(orRefused);
      const view = answer?.views.find(({ view: name }) => name === `view_${source}`);
      if ((view?.positions[0] ?? 0n) >= position) break;
      await sleep(pollMs);
    }
    record('fresh', dueMs);
  }

  async function read(n: number, dueMs: number): Promise<void> {
    const keys = [int64Keys('entity', requestKeys(rowsOfRead, n))];
    const request = { ...readRequest(`service_${sources * perView}`, keys, 0), omitMetadata: true };
    const answer = await features.getFeatures(request).catch(orRefused);
    if (!answer) return;
    counts.reads++;
    record('read', dueMs);
    const present = answer.statuses.filter((status) => status === serving.ValueStatus.PRESENT).length;
    if (present !== rowsOfRead * sources * perView) throw new Error(`read ${n} has ${present} values`);
  }

  await Promise.all([
    onSchedule(pushesPerS, startMs, totalMs, signal, push),
    onSchedule(readsPerS, startMs, totalMs, signal, read),
  ]);
  const ms = (name: keyof typeof times, percentile: number) => times[name].getValueAtPercentile(percentile) / 1000;
  return {
    seconds,
    read_p50_ms: ms('read', 50),
    read_p99_ms: ms('read', 99),
    freshness_p50_ms: ms('fresh', 50),
    freshness_p99_ms: ms('fresh', 99),
    push_p50_ms: ms('push', 50),
    push_p99_ms: ms('push', 99),
    ...counts,
    followed: times.fresh.totalCount,
  };
}

/** Starts work at a fixed rate whatever became of that before, and ends when all of it has. */
async function onSchedule(
  perS: number,
  startMs: number,
  totalMs: number,
  signal: AbortSignal,
  work: (n: number, dueMs: number) => Promise<void>,
): Promise<void> {
  const pending: Promise<void>[] = [];
  const count = Math.round((totalMs / 1000) * perS);
  for (let n = 0; n < count; n++) {
    signal.throwIfAborted();
    const dueMs = startMs + (n * 1000) / perS;
    const waitMs = dueMs - performance.now();
    if (waitMs > 0) await sleep(waitMs);
    pending.push(work(n, dueMs));
  }
  await Promise.all(pending);
}

function histogram() {
  return build({ lowestDiscernibleValue: 1, highestTrackableValue: 60_000_000, numberOfSignificantValueDigits: 3 });
}
