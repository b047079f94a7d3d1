import type { BenchCases, BenchContext, BenchUsage } from './bench.ts';
import { measureBatching } from './inference/batching.ts';
import { measureBoosted } from './inference/boosted.ts';
import { measureCache } from './inference/cached.ts';
import { measureFairness } from './inference/fairness.ts';
import { measureFused } from './inference/fused.ts';
import { measureIris } from './inference/iris.ts';
import { measureOverload } from './inference/overloaded.ts';
import { measureProtocol } from './inference/protocol.ts';
import { measureQuantized } from './inference/quantized.ts';
import { measureQuantizer } from './inference/quantizer.ts';
import { measureRollbackQuality } from './inference/rollback-quality.ts';
import { measureShadow } from './inference/shadowed.ts';
import { measureSwaps } from './inference/swaps.ts';
import { measureTabular } from './inference/tabular.ts';
import { measureWire } from './inference/wire.ts';

/** Each gives one case or several that share a server. */
const measures: Readonly<Record<string, (context: BenchContext) => BenchCases | Promise<BenchCases>>> = {
  B1: measureProtocol,
  B2: measureIris,
  B3: measureTabular,
  batching: measureBatching,
  B5: measureBoosted,
  B6: measureQuantized,
  B8: measureOverload,
  B9: measureSwaps,
  B10: measureFused,
  B11: measureRollbackQuality,
  B12: measureShadow,
  B13: measureCache,
  B14: measureFairness,
  B15: measureWire,
  B17: measureQuantizer,
};

export const usage: BenchUsage = {
  cases: Object.keys(measures),
  options: {
    runs: { default: 1_000, says: 'healthy canaries of B11' },
    swaps: { default: 200, says: 'swaps of B9 over which memory is watched' },
    overload: { default: 2, says: 'load of B8, in multiples of what the server bears' },
  },
};

/** The model server's benchmarks; `inference/` has a file for each. */
export async function run(context: BenchContext): Promise<BenchCases> {
  const cases: Record<string, BenchCases[string]> = {};
  for (const [name, measure] of Object.entries(measures)) {
    context.signal.throwIfAborted();
    if (context.only.length === 0 || context.only.includes(name)) Object.assign(cases, await measure(context));
  }
  return cases;
}
