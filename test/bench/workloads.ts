import { parseArgs } from 'node:util';
import type { BenchCases, BenchContext } from './bench.ts';
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
const known = [...Object.keys(ofReads), ...Object.keys(ofMesh)];

/**
 * Those workloads of the feature store's table that no other benchmark has: W3 ranking, W4 many views, W6 materialise,
 * W11 registry scale, W13 mixed, W14 on-demand. Name some to run them alone. Options: --rows 200000 (W6, 1000000 in full),
 * --views 100,1000,5000 (W11), --seconds 60 (W13, 300 in full), --no-feast (W3, W4).
 */
export async function run({ args, progress, signal }: BenchContext): Promise<BenchCases> {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rows: { type: 'string', default: '200000' },
      views: { type: 'string', default: '100,1000,5000' },
      seconds: { type: 'string', default: '60' },
      'no-feast': { type: 'boolean', default: false },
    },
  });
  const unknown = positionals.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`"${unknown}" is not a workload; use some of: ${known.join(', ')}`);
  const wants = (name: string) => positionals.length === 0 || positionals.includes(name);
  const context: WorkloadContext = {
    progress,
    signal,
    rows: Number(values.rows),
    seconds: Number(values.seconds),
    views: values.views.split(',').map(Number),
  };
  const cases: Record<string, Metrics> = {};
  const reads = Object.entries(ofReads).filter(([name]) => wants(name));
  if (reads.length > 0) {
    const withFeast = !values['no-feast'] && reads.some(([name]) => comparedWithFeast.has(name));
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
