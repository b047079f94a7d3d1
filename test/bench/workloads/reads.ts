import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type definitions, serving } from '@millrace/contracts';
import { openServingWorld, request, type ServingWorld, service } from '../../integration/serving-world.ts';
import { column } from '../../support/full-mesh.ts';
import {
  checkValues,
  entityDefinition,
  featureNames,
  perView,
  requestKeys,
  serviceOf,
  valueFor,
  viewDefinitions,
  writeRows,
} from '../feast/data.ts';
import { openPeer } from '../feast/peer.ts';
import { method, pin, round3, runClient } from '../serving-load.ts';
import { type Metrics, sleep, type WorkloadContext } from './workload.ts';

const views = 20;
const distinctRequests = 64;
/** What a closed loop answers at least, where it does so within three times the seconds. */
const answersMin = 300;

export type Load = { readonly rps: number; readonly p50_ms: number; readonly p99_ms: number; readonly errors: number };
/** A read of these features, by their numbers, of so many entities. */
export type ReadShape = { readonly name: string; readonly rows: number; readonly features: readonly number[] };
export type ReadWorld = Awaited<ReturnType<typeof openReadWorld>>;

/**
 * 20 views of 10 int64 features of 10,000 entities in Redis, the server on a core, Redis and the client on the other; and the real
 * Feast, which may use both, with the same values in a Redis of its own.
 */
export async function openReadWorld({ progress, signal }: WorkloadContext, withFeast: boolean) {
  progress('starting Redis, NATS, governance and online-serving, and writing rows');
  const world = await openServingWorld({ stores: ['redis', 'nats'] });
  try {
    await world.apply(
      entityDefinition,
      ...Array.from({ length: views }, (_, v) =>
        viewDefinitions(`view_${v}`, `source_${v}`, featureNames(perView, v * perView)),
      ).flat(),
      // applied is known to the world when its services are
      serviceOf(perView),
    );
    for (let v = 0; v < views; v++) await writeRows(world, world.definition(`view_${v}`));
    const peer = withFeast ? await openPeer(world.mesh.dir, progress, signal) : undefined;
    const feast = await peer?.serve(1);
    pin(world.online.pid, 0);
    pin(world.mesh.redis.pid, 1);
    pin(world.mesh.nats.pid, 1);
    return {
      ...world,
      feast,
      async close() {
        await feast?.stop();
        await peer?.stop();
        await world.close();
      },
    };
  } catch (thrown) {
    await world.close();
    throw thrown;
  }
}

/** A service of these features; what is derived from them beside. */
export function serviceOfShape(
  { name, features }: ReadShape,
  derived: readonly definitions.DerivedFeature[] = [],
): definitions.Definition {
  const defined = service(
    name,
    features.map((feature) => ({ view: viewOf(feature), feature: `feature_${feature}`, alias: `feature_${feature}` })),
  );
  if (defined.spec?.$case !== 'featureService') throw new Error('a service is a service');
  return { ...defined, spec: { ...defined.spec, value: { ...defined.spec.value, derived: [...derived] } } };
}

const viewOf = (feature: number) => `view_${Math.floor(feature / perView)}`;

/** The request of GetFeatures in a file, and how large its answer is, every value of which was checked. */
export async function nativeRead(
  world: ServingWorld,
  shape: ReadShape,
  check: (answer: serving.GetFeaturesResponse, keys: readonly number[]) => void = () => {},
) {
  const keys = requestKeys(shape.rows, 0);
  const named = request({ service: shape.name, keys: { entity: keys.map(BigInt) } });
  const answer = await world.client.getFeatures(named);
  for (const feature of shape.features) {
    const values = column(answer, `feature_${feature}`);
    const wrong = keys.findIndex((key, row) => values[row] !== valueFor(key, feature));
    if (wrong >= 0) throw new Error(`${shape.name}: feature_${feature} of ${keys[wrong]} is ${values[wrong]}`);
  }
  check(answer, keys);
  const sent = { ...named, omitMetadata: true };
  const file = join(world.mesh.dir, `${shape.name}.request`);
  writeFileSync(file, serving.GetFeaturesRequest.encode(sent).finish());
  const bytes = serving.GetFeaturesResponse.encode(await world.client.getFeatures(sent)).finish().length;
  const load = async (inFlight: number, seconds: number): Promise<Load> =>
    withoutErrors(
      shape.name,
      await runClient<Load>('lean-client.ts', [world.online.grpc, method, file, 1, inFlight, seconds, bytes]),
    );
  return { bytes, load };
}

/** The same read over Feast's HTTP protocol, of ours and of Feast, one request at a time. */
export async function feastReads(world: ReadWorld, shape: ReadShape, seconds: number): Promise<Metrics> {
  const bodyOf = (keys: readonly number[]) =>
    JSON.stringify({
      features: shape.features.map((feature) => `${viewOf(feature)}:feature_${feature}`),
      entities: { entity: keys },
    });
  const bodies = Array.from({ length: distinctRequests }, (_, round) => bodyOf(requestKeys(shape.rows, round)));
  const file = join(world.mesh.dir, `${shape.name}.json`);
  writeFileSync(file, bodies.join('\n'));
  const sides = { http: world.online.http, ...(world.feast ? { feast: world.feast.address } : {}) };
  const metrics: Record<string, number> = {};
  for (const [side, address] of Object.entries(sides)) {
    const keys = requestKeys(shape.rows, 0);
    // the last read of the load before still runs, and of two large ones the second may be refused
    await sleep(1000);
    await checkValues(side, address, { keys, body: bodyOf(keys), features: shape.features });
    const args = [address, '/get-online-features', file, 1, seconds, answersMin];
    const load = withoutErrors(side, await runClient<Load>('../feast/http-client.ts', args));
    metrics[`${side}_p50_ms`] = round3(load.p50_ms);
    metrics[`${side}_p99_ms`] = round3(load.p99_ms);
  }
  return metrics;
}

function withoutErrors(what: string, load: Load): Load {
  if (load.errors > 0) throw new Error(`${what}: ${load.errors} calls failed or answered with another size`);
  return load;
}
