import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inference, oip, serving } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { deployment, model } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { openServingWorld, request, type ServingWorld } from '../../integration/serving-world.ts';
import { type BenchCases, type BenchContext, median } from '../bench.ts';
import {
  entities,
  entityDefinition,
  featureNames,
  perView,
  requestKeys,
  serviceOf,
  valueFor,
  viewDefinitions,
  writeRows,
} from '../feast/data.ts';
import { pin, method as readMethod, round1, round3, runClient } from '../serving-load.ts';
import { method as inferMethod } from './infer-load.ts';
import { mlpOnnx } from './mlp.ts';
import { startMlserver } from './peers/servers.ts';

const features = 20;
const seconds = 2;
const rounds = 3;
/** At so many at once, so that both ways run as fast as they will before either is measured: one call at a time takes minutes to get there. */
const warmUp = { atOnce: 32, seconds: 3 } as const;
const shapes = [
  { label: 'B10', rows: 1, atOnce: 1 },
  { label: 'B10/c32', rows: 1, atOnce: 32 },
  { label: 'B10/50', rows: 50, atOnce: 1 },
  { label: 'B10/50/c8', rows: 50, atOnce: 8 },
] as const;
const predictMethod = '/millrace.inference.v1.PredictionService/Predict';

type Measured = { readonly rps: number; readonly p50_ms: number; readonly p99_ms: number; readonly errors: number };
type Shape = (typeof shapes)[number];
type Hop = { readonly address: string; readonly path: string; readonly body: Uint8Array; readonly bytes: number };
type Numbers = Record<string, number>;

/**
 * B10: a prediction for one entity, and for 50 (a ranking), from 20 features in Redis, model 20-64-32-1. `rps`, `p50_ms`, `p99_ms` are Predict, which
 * reads the features, runs the model and keeps the exact vectors in JetStream before it answers. `two_hop_*` is a client that reads the features of online-serving and then asks
 * the model server, which keeps nothing; the two by turns, medians of three after a warm-up of both; `mlserver_*` is MLServer with redis-py in its model, the vector of an entity packed in one value. `redis_round_trips` is what Redis read from its
 * connections (`total_reads_processed`), less what it reads in as long a time without load, for each call for features; `predictions_per_read` is how many predictions share one.
 * All servers have the first core, the stores and the client the other.
 */
export async function measureFused(context: BenchContext): Promise<BenchCases> {
  const { progress, signal } = context;
  const world = await openServingWorld({ stores: ['redis', 'nats'] });
  try {
    const served = await serve(world);
    const idle = await idleReads(world);
    const cases: Record<string, Numbers> = {};
    for (const shape of shapes) {
      signal.throwIfAborted();
      cases[shape.label] = await measureOurs(world, served, shape, idle);
      progress(`${shape.label}: ${JSON.stringify(cases[shape.label])}`);
    }
    await besideMlserver(world, served, cases, context);
    return cases;
  } finally {
    await world.close();
  }
}

type Served = { readonly grpc: string; readonly http: string; readonly modelFile: string };

/** Rows for all entities and the model server with one model, on their cores. */
async function serve(world: ServingWorld): Promise<Served> {
  const views = Array.from({ length: features / perView }, (_, v) => `view_${v}`);
  const service = serviceOf(features);
  await world.apply(
    entityDefinition,
    ...views.flatMap((view, v) => viewDefinitions(view, `source_${v}`, featureNames(perView, v * perView))),
    service,
  );
  for (const view of views) await writeRows(world, world.definition(view));
  const modelDir = join(world.mesh.dir, 'models');
  mkdirSync(modelDir);
  const bytes = mlpOnnx([features, 64, 32, 1]);
  const modelFile = join(modelDir, 'rank.onnx');
  writeFileSync(modelFile, bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const columns = featureNames(features).map((name, at) => ({ feature: `view_${Math.floor(at / perView)}__${name}` }));
  const rank = model('rank', {
    owner: 'bench',
    uri: 'rank.onnx',
    sha256,
    featureService: { kind: 'featureService', name: service.name, definition: service },
    input: { name: 'x', columns: columns },
    output: { name: 'y' },
  });
  const { definition } = deployment('ranking', { owner: 'bench', targets: [{ model: rank }] });
  await world.apply(rank.definition, definition);
  const { pid, grpc, http } = await world.mesh.service('model-inference', {
    MILLRACE_CLICKHOUSE_URL: 'http://127.0.0.1:9',
    MILLRACE_MODEL_DIR: modelDir,
    MILLRACE_ONLINE_SERVING_ADDRESS: world.online.grpc,
  });
  pin(pid, 0);
  pin(world.online.pid, 0);
  pin(world.mesh.redis.pid, 1);
  pin(world.mesh.nats.pid, 1);
  return { grpc, http, modelFile };
}

async function measureOurs(world: ServingWorld, served: Served, shape: Shape, idle: number): Promise<Numbers> {
  const { predict, twoHops } = await hopsOf(world, served, shape);
  for (const hops of [[predict], twoHops]) await chain(world, { ...shape, ...warmUp }, hops);
  const fusedRounds: Measured[] = [];
  const apartRounds: Measured[] = [];
  let [trips, reads, predictions] = [0, 0, 0];
  for (let round = 0; round < rounds; round++) {
    const before = await counts(world, served);
    fusedRounds.push(await chain(world, { ...shape, seconds }, [predict]));
    const after = await counts(world, served);
    trips += after.redisReads - before.redisReads - idle * (after.atMs - before.atMs);
    reads += after.reads - before.reads;
    predictions += after.predictions - before.predictions;
    apartRounds.push(await chain(world, { ...shape, seconds }, twoHops));
  }
  const [fused, apart] = [medians(fusedRounds), medians(apartRounds)];
  return {
    rps: round1(fused.rps),
    p50_ms: round3(fused.p50_ms),
    p99_ms: round3(fused.p99_ms),
    redis_round_trips: round3(trips / reads),
    predictions_per_read: round3(predictions / reads),
    two_hop_rps: round1(apart.rps),
    two_hop_p50_ms: round3(apart.p50_ms),
    two_hop_p99_ms: round3(apart.p99_ms),
  };
}

/** The calls with the sizes of their answers; the scores of both ways are compared. */
async function hopsOf(
  world: ServingWorld,
  { grpc }: Served,
  { rows }: Shape,
): Promise<{ predict: Hop; twoHops: Hop[] }> {
  const keys = requestKeys(rows, 0);
  const predictions = connect(inference.PredictionServiceService, grpc, { defaultTimeoutMs: 10_000 });
  const models = connect(oip.GRPCInferenceServiceService, grpc, { defaultTimeoutMs: 10_000 });
  try {
    const asked = inference.PredictRequest.fromPartial({
      deployment: 'ranking',
      keys: [{ name: 'entity', int64s: keys.map(BigInt) }],
      omitExplanation: true,
    } as never);
    const predicted = await eventually(() => predictions.predict(asked), { timeoutMs: 30_000 });
    const read = request({
      service: `service_${features}`,
      keys: { entity: keys.map(BigInt) },
      more: { omitMetadata: true },
    });
    const values = await world.client.getFeatures(read);
    const infer = oip.ModelInferRequest.fromPartial({
      modelName: 'rank',
      id: 'bench',
      inputs: [{ name: 'x', datatype: 'FP32', shape: [BigInt(rows), BigInt(features)] }],
      rawInputContents: [Buffer.from(vectorsOf(keys).buffer)],
    } as never);
    const inferred = await models.modelInfer(infer);
    checkScores(
      'two hops',
      predicted.predictions.map(({ score }) => score),
      inferred.rawOutputContents[0],
    );
    return {
      predict: {
        address: grpc,
        path: predictMethod,
        body: inference.PredictRequest.encode(asked).finish(),
        bytes: inference.PredictResponse.encode(predicted).finish().length,
      },
      twoHops: [
        {
          address: world.online.grpc,
          path: readMethod,
          body: serving.GetFeaturesRequest.encode(read).finish(),
          bytes: serving.GetFeaturesResponse.encode(values).finish().length,
        },
        {
          address: grpc,
          path: inferMethod,
          body: oip.ModelInferRequest.encode(infer).finish(),
          bytes: oip.ModelInferResponse.encode(inferred).finish().length,
        },
      ],
    };
  } finally {
    predictions.close();
    models.close();
  }
}

const vectorsOf = (keys: readonly number[]) =>
  Float32Array.from(keys.flatMap((key) => featureNames(features).map((_, feature) => valueFor(key, feature))));

function checkScores(who: string, scores: readonly number[], raw: Buffer | undefined): void {
  const isSame =
    raw?.length === scores.length * 4 &&
    scores.every((score, at) => Math.abs(score - raw.readFloatLE(at * 4)) <= 1e-5 * Math.max(1, Math.abs(score)));
  if (!isSame) throw new Error(`the scores of ${who} are not those of Predict`);
}

function medians(runs: readonly Measured[]): Pick<Measured, 'rps' | 'p50_ms' | 'p99_ms'> {
  const of = (metric: keyof Measured) => median(runs.map((one) => one[metric]));
  return { rps: of('rps'), p50_ms: of('p50_ms'), p99_ms: of('p99_ms') };
}

type Load = { readonly label: string; readonly atOnce: number; readonly seconds: number };

async function chain(
  world: ServingWorld,
  { label, atOnce, seconds: during }: Load,
  hops: readonly Hop[],
): Promise<Measured> {
  const args = hops.flatMap(({ address, path, body, bytes }, at) => {
    const file = join(world.mesh.dir, `hop-${at}`);
    writeFileSync(file, body);
    return [address, path, file, bytes];
  });
  const measured = await runClient<Measured>('chain-client.ts', [atOnce, during, ...args]);
  if (measured.errors > 0) throw new Error(`${label}: ${measured.errors} calls failed`);
  return measured;
}

async function counts(world: ServingWorld, { http }: Served) {
  const stats = await world.hot.redis.info('stats');
  const metrics = await (await fetch(`http://${http}/metrics`)).text();
  const metric = (name: string) =>
    Number(new RegExp(`^${name}(?:[{].*[}])? (\\d+)`, 'm').exec(metrics)?.[1] ?? Number.NaN);
  return {
    atMs: performance.now(),
    redisReads: Number(/total_reads_processed:(\d+)/.exec(stats)?.[1]),
    reads: metric('millrace_inference_feature_reads_total'),
    predictions: metric('millrace_inference_fused_predictions_total'),
  };
}

/** What Redis reads in a millisecond when nobody predicts. */
async function idleReads(world: ServingWorld): Promise<number> {
  const reads = async () => Number(/total_reads_processed:(\d+)/.exec(await world.hot.redis.info('stats'))?.[1]);
  const [before, fromMs] = [await reads(), performance.now()];
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  return ((await reads()) - before) / (performance.now() - fromMs);
}

async function besideMlserver(
  world: ServingWorld,
  { modelFile }: Served,
  cases: Record<string, Numbers>,
  context: BenchContext,
): Promise<void> {
  for (let first = 0; first < entities; first += 1_000) {
    const packed = Array.from({ length: 1_000 }, (_, at) => [`features:${first + at}`, vectorBytes(first + at)]);
    await world.hot.redis.mset(packed.flat());
  }
  const extra = { columns: features, redis_port: world.mesh.redis.port };
  const settings = { workers: 0, implementation: 'mlserver_features.Features', extra } as const;
  const peer = await startMlserver({ rank: modelFile }, settings, context);
  if (!peer) return;
  try {
    for (const shape of shapes) {
      context.signal.throwIfAborted();
      const { rps, p50_ms, p99_ms } = await chain(world, { ...shape, seconds }, [await mlserverHop(peer.grpc, shape)]);
      const ours = cases[shape.label] ?? {};
      ours.mlserver_rps = round1(rps);
      ours.mlserver_p50_ms = round3(p50_ms);
      ours.mlserver_p99_ms = round3(p99_ms);
      ours.ratio = round3((ours.rps ?? Number.NaN) / rps);
      ours.ratio_two_hop = round3((ours.rps ?? Number.NaN) / (ours.two_hop_rps ?? Number.NaN));
    }
  } finally {
    await peer.stop();
  }
}

const vectorBytes = (entity: number) => Buffer.from(vectorsOf([entity]).buffer);

async function mlserverHop(address: string, { rows }: Shape): Promise<Hop> {
  const keys = requestKeys(rows, 0);
  const asked = oip.ModelInferRequest.fromPartial({
    modelName: 'rank',
    id: 'bench',
    inputs: [{ name: 'entity', datatype: 'INT64', shape: [BigInt(rows), 1n] }],
    rawInputContents: [Buffer.from(BigInt64Array.from(keys, BigInt).buffer)],
  } as never);
  const client = connect(oip.GRPCInferenceServiceService, address, { defaultTimeoutMs: 10_000 });
  try {
    const answer = await eventually(() => client.modelInfer(asked), { timeoutMs: 30_000 });
    return {
      address,
      path: inferMethod,
      body: oip.ModelInferRequest.encode(asked).finish(),
      bytes: oip.ModelInferResponse.encode(answer).finish().length,
    };
  } finally {
    client.close();
  }
}
