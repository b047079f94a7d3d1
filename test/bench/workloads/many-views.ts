import { perView } from '../feast/data.ts';
import { round3 } from '../serving-load.ts';
import { feastReads, nativeRead, type ReadWorld, serviceOfShape } from './reads.ts';
import { type Metrics, named, type WorkloadContext } from './workload.ts';

const counts = [1, 5, 10, 20] as const;
const featuresOfView = 3;
const rows = 50;
/** 300 reads at least, which the slowest side has in three times as long. */
const seconds = 3;

/** W4: three features of each of ever more views, of 50 entities. One request at a time. */
export async function measureManyViews(world: ReadWorld, { progress, signal }: WorkloadContext): Promise<Metrics> {
  let metrics: Metrics = {};
  for (const count of counts) {
    signal.throwIfAborted();
    const features = Array.from({ length: count * featuresOfView }, (_, i) => {
      return Math.floor(i / featuresOfView) * perView + (i % featuresOfView);
    });
    const shape = { name: `many_views_${count}`, rows, features };
    await world.apply(serviceOfShape(shape));
    const { bytes, load } = await nativeRead(world, shape);
    const one = await load(1, seconds);
    const measured = {
      p50_ms: round3(one.p50_ms),
      p99_ms: round3(one.p99_ms),
      bytes,
      ...(await feastReads(world, shape, seconds)),
    };
    progress(`W4 ${count} views: ${JSON.stringify(measured)}`);
    metrics = { ...metrics, ...named(measured, count === 1 ? '1_view' : `${count}_views`) };
  }
  return metrics;
}
