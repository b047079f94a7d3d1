import type { BenchCases, BenchContext, BenchUsage } from './bench.ts';
import { measureManyViews } from './workloads/many-views.ts';
import { measureMaterialise } from './workloads/materialise.ts';
import { measureMixed } from './workloads/mixed.ts';
import { measureOnDemand } from './workloads/on-demand.ts';
import { measureRanking } from './workloads/ranking.ts';
import { openReadWorld } from './workloads/reads.ts';
import { measureRegistryScale } from './workloads/registry-scale.ts';
import type { Metrics, WorkloadContext } from './workloads/workload.ts';

const ofReads = { W3: measureRanking, W4: measureManyViews, W14: measureOnDemand } as const;
const ofMesh = { W6: measureMaterialise, W11: measureRegistryScale, W13: measureMixed } as const;
const comparedWithFeast: ReadonlySet<string> = new Set(['W3', 'W4']);

export const usage: BenchUsage = {
  cases: [...Object.keys(ofReads), ...Object.keys(ofMesh)],
  options: {
    rows: { default: 200_000, says: 'of W6; 1000000 in full' },
    views: { default: '100,1000,5000', says: 'registry sizes of W11' },
    seconds: { default: 60, says: 'of W13; 300 in full' },
    'no-feast': { default: false, says: 'W3 without its peer' },
  },
};

/**
 * Those workloads of the feature store's table that no other benchmark has: W3 ranking, W4 many views, W6 materialise,
 * W11 registry scale, W13 mixed, W14 on-demand. Name some to run them alone. Options: --rows 200000 (W6, 1000000 in full),
 * --views 100,1000,5000 (W11), --seconds 60 (W13, 300 in full), --no-feast (W3, W4).
 */
export async function run({ only, text, number, flag, progress, signal }: BenchContext): Promise<BenchCases> {
  const wants = (name: string) => only.length === 0 || only.includes(name);
  const context: WorkloadContext = {
    progress,
    signal,
    rows: number('rows'),
    seconds: number('seconds'),
    views: text('views').split(',').map(Number),
  };
  const cases: Record<string, Metrics> = {};
  const reads = Object.entries(ofReads).filter(([name]) => wants(name));
  if (reads.length > 0) {
    const withFeast = !flag('no-feast') && reads.some(([name]) => comparedWithFeast.has(name));
    const world = await openReadWorld(context, withFeast);
    try {
      for (const [name, measure] of reads) cases[name] = await measure(world, context);
    } finally {
      await world.close();
    }
  }
  for (const [name, measure] of Object.entries(ofMesh)) {
    signal.throwIfAborted();
    if (wants(name)) cases[name] = await measure(context);
  }
  return cases;
}
