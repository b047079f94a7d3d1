import type { oip } from '@millrace/contracts';
import type { CountedNs, StageTimes, VersionStatistics } from './model-statistics.ts';

/** Statistics of a version, in the message of Triton's extension. */
export function toStatistics(name: string, version: string, of: VersionStatistics): oip.ModelStatistics {
  const { count } = of.success;
  return {
    name,
    version,
    lastInference: BigInt(Math.floor(of.lastMs)),
    inferenceCount: BigInt(of.inferences),
    executionCount: BigInt(of.executions),
    inferenceStats: {
      success: duration(of.success),
      fail: duration(of.fail),
      queue: duration({ count, ns: of.times.queueNs }),
      ...compute(count, of.times),
      cacheHit: duration({ count: 0, ns: 0 }),
      cacheMiss: duration({ count: 0, ns: 0 }),
    },
    batchStats: of.batches.map((batch) => ({ batchSize: BigInt(batch.rows), ...compute(batch.count, batch.times) })),
  };
}

function compute(count: number, { inputNs, inferNs, outputNs }: StageTimes) {
  return {
    computeInput: duration({ count, ns: inputNs }),
    computeInfer: duration({ count, ns: inferNs }),
    computeOutput: duration({ count, ns: outputNs }),
  };
}

function duration({ count, ns }: CountedNs): oip.StatisticDuration {
  return { count: BigInt(count), ns: BigInt(Math.round(ns)) };
}
