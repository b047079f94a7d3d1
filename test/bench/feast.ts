import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { feastServing, serving } from '@millrace/contracts';
import { type Hot, openRedis } from '@millrace/hot';
import { connect } from '@millrace/rpc';
import { openServingWorld, request, type ServingWorld } from '../integration/serving-world.ts';
import type { BenchCases, BenchContext, BenchUsage } from './bench.ts';
import {
  checkAnswer,
  entities,
  entityDefinition,
  featureNames,
  perView,
  readBody,
  requestKeys,
  serviceOf,
  viewDefinitions,
  views,
  writeRows,
} from './feast/data.ts';
import { openPeer, type Peer } from './feast/peer.ts';
import { measurePush, pushAndPoll } from './feast/push.ts';
import { method, pin, round1, round3, runClient } from './serving-load.ts';

const shapes = [
  { rows: 1, features: 50 },
  { rows: 10, features: 50 },
  { rows: 100, features: 50 },
  { rows: 1, features: 250 },
  { rows: 100, features: 250 },
] as const;
const clients = [1, 8] as const;
const secondsPerRun = 3;
const distinctRequests = 64;
const answersMin = 8;
const feastMethod = '/GrpcFeatureServer/GetOnlineFeatures';

type Shape = (typeof shapes)[number];
type Measured = { readonly rps: number; readonly p50_ms: number; readonly errors: number };
type Cases = Record<string, Record<string, number>>;

export const usage: BenchUsage = { cases: ['memory', 'reads', 'push'] };

/**
 * Feast's own benchmark (25 views × 10 int64, 10,000 entities, Redis) against Feast's Python server and ours, closed loop, the same client over the
 * same HTTP protocol, in one run on one machine: W1, W5 and W12. Ours runs on one core, Redis and the client on the other; Feast may
 * use both. `feast_*` is its server with its default of one worker, `feast_tuned_*` with two; `ratio_rps` is to the better of them.
 */
export async function run({ only, progress, signal }: BenchContext): Promise<BenchCases> {
  const wants = (name: string) => only.length === 0 || only.includes(name);
  const cases: Cases = {};
  progress('starting Redis, NATS, governance and online-serving');
  const world = await openServingWorld({ stores: ['redis', 'nats'] });
  let peer: Peer | undefined;
  try {
    const memory = await prepare(world, progress);
    if (wants('reads') || wants('memory')) peer = await openPeer(world.mesh.dir, progress, signal);
    if (wants('memory'))
      cases.memory = { ...memory, ...(peer ? { feast_bytes_per_entity: await usedPerEntity(peer) } : {}) };
    if (wants('reads')) await measureReads(world, peer, cases, progress, signal);
    if (peer && wants('push')) cases.push = await measureFeastPush(peer, progress, signal);
  } finally {
    await peer?.stop();
    await world.close();
  }
  if (wants('push')) cases.push = { ...(await measurePush(300, progress, signal)), ...cases.push };
  return cases;
}

/** Definitions and rows; and what an entity's 250 features cost in Redis, as one view and as 25. */
async function prepare(world: ServingWorld, progress: (text: string) => void): Promise<Record<string, number>> {
  progress(`writing ${entities} rows of 250 features, then ${entities * views} of ${perView}`);
  await world.apply(
    entityDefinition,
    ...viewDefinitions('wide', 'wide_source', featureNames(views * perView)),
    ...Array.from({ length: views }, (_, v) =>
      viewDefinitions(`view_${v}`, `source_${v}`, featureNames(perView, v * perView)),
    ).flat(),
    serviceOf(50),
    serviceOf(250),
  );
  const empty = await usedMemory(world.hot);
  const wideRowBytes = await writeRows(world, world.definition('wide'));
  const wide = await usedMemory(world.hot);
  await world.hot.redis.flushdb();
  const before = await usedMemory(world.hot);
  for (let v = 0; v < views; v++) await writeRows(world, world.definition(`view_${v}`));
  return {
    bytes_per_entity: Math.round((wide - empty) / entities),
    row_bytes: Math.round(wideRowBytes / entities),
    bytes_per_entity_25_views: Math.round(((await usedMemory(world.hot)) - before) / entities),
  };
}

async function usedMemory({ redis }: Hot): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await redis.info('memory'))?.[1]);
}

async function measureReads(
  world: ServingWorld,
  peer: Peer | undefined,
  cases: Cases,
  progress: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  pin(world.online.pid, 0);
  pin(world.mesh.redis.pid, 1);
  pin(world.mesh.nats.pid, 1);
  const files = shapes.map((shape) => writeRequests(world, shape));
  for (const shape of shapes) await checkAnswer('ours', world.online.http, shape.rows, shape.features);
  for (const workers of [1, 2]) {
    const feast = await peer?.serve(workers);
    try {
      for (const [i, shape] of shapes.entries()) {
        if (feast) await checkAnswer('Feast', feast.address, shape.rows, shape.features);
        for (const inFlight of clients) {
          signal.throwIfAborted();
          const label = `${shape.rows}x${shape.features}/c${inFlight}`;
          const load = (address: string) => httpLoad(address, files[i]?.http ?? '', inFlight);
          const theirs = feast && (await load(feast.address));
          const cell = cases[label] ?? (await measureOurs(world, shape, files[i] as Files, inFlight, load));
          cases[label] = withFeast(cell, theirs, workers === 1 ? 'feast' : 'feast_tuned');
          progress(
            `${label}: ${Object.entries(cases[label])
              .map((metric) => metric.join(' '))
              .join(', ')}`,
          );
        }
      }
    } finally {
      await feast?.stop();
    }
    if (!peer) break;
  }
}

function withFeast(cell: Record<string, number>, theirs: Measured | undefined, name: string): Record<string, number> {
  if (!theirs) return cell;
  const best = Math.max(theirs.rps, cell.feast_rps ?? 0);
  return {
    ...cell,
    [`${name}_rps`]: round1(theirs.rps),
    [`${name}_p50_ms`]: round3(theirs.p50_ms),
    ratio_rps: round1((cell.ours_rps ?? 0) / best),
    ratio_p50: round1(Math.min(theirs.p50_ms, cell.feast_p50_ms ?? Number.POSITIVE_INFINITY) / (cell.ours_p50_ms ?? 0)),
  };
}

type Files = { readonly http: string; readonly native: string; readonly feast: string };

function writeRequests(world: ServingWorld, { rows, features }: Shape): Files {
  const file = (name: string) => join(world.mesh.dir, `${rows}x${features}.${name}`);
  const bodies = Array.from({ length: distinctRequests }, (_, round) => readBody(requestKeys(rows, round), features));
  writeFileSync(file('json'), bodies.join('\n'));
  writeFileSync(file('native'), serving.GetFeaturesRequest.encode(nativeRequest(rows, features)).finish());
  const val = requestKeys(rows, 0).map((key) => ({ val: { $case: 'int64Val' as const, value: BigInt(key) } }));
  const feast = feastServing.GetOnlineFeaturesRequest.fromPartial({
    kind: { $case: 'featureService', value: `service_${features}` },
  });
  feast.entities.set('entity', { val });
  writeFileSync(file('feast'), feastServing.GetOnlineFeaturesRequest.encode(feast).finish());
  return { http: file('json'), native: file('native'), feast: file('feast') };
}

function nativeRequest(rows: number, features: number): serving.GetFeaturesRequest {
  return request({
    service: `service_${features}`,
    keys: { entity: requestKeys(rows, 0).map(BigInt) },
    more: { omitMetadata: true },
  });
}

/** Over Feast's HTTP and gRPC, and natively. */
async function measureOurs(
  world: ServingWorld,
  shape: Shape,
  files: Files,
  inFlight: number,
  load: (address: string) => Promise<Measured>,
): Promise<Record<string, number>> {
  const answer = await world.client.getFeatures(nativeRequest(shape.rows, shape.features));
  const nativeBytes = serving.GetFeaturesResponse.encode(answer).finish().length;
  const feastClient = connect(feastServing.ServingServiceService, world.online.grpc);
  const feastAnswer = await feastClient.getOnlineFeatures(
    feastServing.GetOnlineFeaturesRequest.decode(readFileSync(files.feast)),
  );
  feastClient.close();
  const feastBytes = feastServing.GetOnlineFeaturesResponse.encode(feastAnswer).finish().length;
  const grpc = async (path: string, file: string, bytes: number) =>
    noErrors(
      path,
      await runClient<Measured>('lean-client.ts', [world.online.grpc, path, file, 1, inFlight, secondsPerRun, bytes]),
    );
  const ours = await load(world.online.http);
  const overGrpc = await grpc(feastMethod, files.feast, feastBytes);
  const native = await grpc(method, files.native, nativeBytes);
  return {
    ours_rps: round1(ours.rps),
    ours_p50_ms: round3(ours.p50_ms),
    ours_grpc_rps: round1(overGrpc.rps),
    native_rps: round1(native.rps),
    native_p50_ms: round3(native.p50_ms),
    ratio_native: round3(native.rps / ours.rps),
  };
}

async function httpLoad(address: string, file: string, connections: number): Promise<Measured> {
  const args = [address, '/get-online-features', file, connections, secondsPerRun, answersMin];
  return noErrors(address, await runClient<Measured>('../feast/http-client.ts', args));
}

function noErrors(what: string, measured: Measured): Measured {
  if (measured.errors > 0) throw new Error(`${what}: ${measured.errors} calls failed or answered with another size`);
  return measured;
}

async function usedPerEntity({ redis }: Peer): Promise<number> {
  const hot = await openRedis(redis.url);
  const used = await usedMemory(hot);
  await hot.close();
  return Math.round(used / entities);
}

async function measureFeastPush(
  peer: Peer,
  progress: (text: string) => void,
  signal: AbortSignal,
): Promise<Record<string, number>> {
  progress('pushes to Feast');
  const feast = await peer.serve(1);
  try {
    const { p50_ms: p50Ms = 0, p99_ms: p99Ms = 0 } = await pushAndPoll(feast.address, 50, signal);
    return { feast_p50_ms: p50Ms, feast_p99_ms: p99Ms };
  } finally {
    await feast.stop();
  }
}
