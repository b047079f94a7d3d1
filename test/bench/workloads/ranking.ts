import { round1, round3 } from '../serving-load.ts';
import { feastReads, nativeRead, type ReadWorld, serviceOfShape } from './reads.ts';
import { type Metrics, named, type WorkloadContext } from './workload.ts';

const shapes = [
  { name: '500x20', rows: 500, features: 20 },
  { name: '1000x100', rows: 1000, features: 100 },
] as const;
const seconds = 3;

/** W3: all candidates of a ranking at once. One request at a time. */
export async function measureRanking(world: ReadWorld, { progress, signal }: WorkloadContext): Promise<Metrics> {
  let metrics: Metrics = {};
  for (const { name, rows, features } of shapes) {
    signal.throwIfAborted();
    const shape = { name: `ranking_${name}`, rows, features: [...Array(features).keys()] };
    await world.apply(serviceOfShape(shape));
    const { bytes, load } = await nativeRead(world, shape);
    const one = await load(1, seconds);
    const measured = {
      p50_ms: round3(one.p50_ms),
      p99_ms: round3(one.p99_ms),
      rps: round1(one.rps),
      bytes,
      ...(await feastReads(world, shape, seconds)),
    };
    progress(`W3 ${name}: ${JSON.stringify(measured)}`);
    metrics = { ...metrics, ...named(measured, name) };
  }
  return metrics;
}
