import { definitions } from '@millrace/contracts';
import { column } from '../../support/full-mesh.ts';
import { median } from '../bench.ts';
import { valueFor } from '../feast/data.ts';
import { round1, round3 } from '../serving-load.ts';
import { nativeRead, type ReadWorld, serviceOfShape } from './reads.ts';
import type { Metrics, WorkloadContext } from './workload.ts';

const rows = 100;
const features = [...Array(10).keys()];
const rounds = 5;
const seconds = 1;

const transforms = [
  {
    name: 'total',
    expression: 'feature_0 + feature_1 + feature_2',
    expected: (of: (feature: number) => number) => of(0) + of(1) + of(2),
  },
  {
    name: 'share',
    expression: 'double(feature_3) / double(feature_4 + 1)',
    expected: (of: (feature: number) => number) => of(3) / (of(4) + 1),
  },
  {
    name: 'clipped',
    expression: 'feature_5 > 5000 ? 5000 : feature_5',
    expected: (of: (feature: number) => number) => Math.min(of(5), 5000),
  },
] as const;

/** W14: 100 entities × 10 features, with three features derived from them at the read and without, by turns. */
export async function measureOnDemand(world: ReadWorld, { progress, signal }: WorkloadContext): Promise<Metrics> {
  const plain = { name: 'on_demand_without', rows, features };
  const derived = { name: 'on_demand_with', rows, features };
  await world.apply(
    serviceOfShape(plain),
    serviceOfShape(
      derived,
      transforms.map(({ name, expression }) => definitions.DerivedFeature.fromPartial({ name, expression })),
    ),
  );
  const without = await nativeRead(world, plain);
  const withThem = await nativeRead(world, derived, (answer, keys) => {
    for (const { name, expected } of transforms) {
      const values = column(answer, name);
      const wrong = keys.findIndex((key, row) => values[row] !== expected((feature) => valueFor(key, feature)));
      if (wrong >= 0) throw new Error(`${name} of ${keys[wrong]} is ${values[wrong]}`);
    }
  });
  const p50s: { readonly without: number; readonly with: number }[] = [];
  for (let round = 0; round < rounds; round++) {
    signal.throwIfAborted();
    const first = await without.load(1, seconds);
    p50s.push({ without: first.p50_ms, with: (await withThem.load(1, seconds)).p50_ms });
  }
  const measured = {
    p50_ms: round3(median(p50s.map((round) => round.with))),
    p50_without_ms: round3(median(p50s.map((round) => round.without))),
    cost_us: round1(median(p50s.map((round) => (round.with - round.without) * 1000))),
  };
  progress(`W14: ${JSON.stringify(measured)}`);
  return measured;
}
