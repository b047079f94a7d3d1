import type { oip } from '@millrace/contracts';
import type { VersionMeter } from './version-meters.ts';

/**
 * Statistics of a version, in the message of Triton's extension and as Triton counts: inferences are rows that ran, executions are runs; of each
 * request the time of the run that it shared; what the response cache answered is a success and no inference. Putting requests together and
 * apart is part of a run.
 */
export function toStatistics(name: string, version: string, meter: VersionMeter): oip.ModelStatistics {
  const { cacheRequests: cache, ms, queued } = meter;
  const failures = Object.values(meter.failures).reduce((sum, count) => sum + count, 0);
  return {
    name,
    version,
    lastInference: BigInt(Math.floor(meter.lastMs)),
    inferenceCount: BigInt(meter.inferences),
    executionCount: BigInt(meter.executions),
    inferenceStats: {
      success: duration(meter.successes, ms.request),
      fail: duration(failures, meter.failMs),
      queue: duration(queued, ms.queue),
      computeInput: duration(queued, ms.input),
      computeInfer: duration(queued, ms.infer),
      computeOutput: duration(queued, ms.output),
      cacheHit: duration(cache.hits, cache.hitMs),
      cacheMiss: duration(cache.misses, cache.missMs),
    },
    batchStats: [...meter.runsByRows]
      .toSorted(([a], [b]) => a - b)
      .map(([rows, runs]) => ({
        batchSize: BigInt(rows),
        computeInput: duration(runs.count, 0),
        computeInfer: duration(runs.count, runs.ms),
        computeOutput: duration(runs.count, 0),
      })),
  };
}

function duration(count: number, ms: number): oip.StatisticDuration {
  return { count: BigInt(count), ns: BigInt(Math.round(ms * 1e6)) };
}
