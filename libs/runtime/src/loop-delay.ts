import { BucketCounts } from './bucket-counts.ts';
import type { Metrics } from './metrics.ts';

const everyMs = 20;
/** The largest delay is told of the last one to two of these. */
const windowMs = 30_000;
const secondsBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/**
 * How late the event loop is for a timer, sampled every 20 ms. `monitorEventLoopDelay` of Node tells quantiles since it was last reset, which
 * neither two readers nor several processes can share; a histogram that only grows can be.
 *
 * @returns stops it
 */
export function measureLoopDelay(metrics: Metrics): () => void {
  const counts = new BucketCounts(secondsBounds);
  let [startedMs, maxMs, maxBeforeMs] = [performance.now(), 0, 0];
  let dueMs = startedMs + everyMs;
  const sample = () => {
    const nowMs = performance.now();
    const lateMs = Math.max(0, nowMs - dueMs);
    if (nowMs - startedMs > windowMs) [startedMs, maxMs, maxBeforeMs] = [nowMs, 0, maxMs];
    maxMs = Math.max(maxMs, lateMs);
    counts.add(lateMs / 1000);
    dueMs = nowMs + everyMs;
    timer = setTimeout(sample, everyMs).unref();
  };
  let timer = setTimeout(sample, everyMs).unref();
  metrics.family('millrace_event_loop_delay_seconds', 'how late the event loop is for a timer', 'histogram', () => [
    { labels: {}, value: counts },
  ]);
  metrics.family(
    'millrace_event_loop_delay_max_seconds',
    'the most that it was late in the last 30 to 60 s',
    'gauge',
    () => [{ labels: {}, value: Math.max(maxMs, maxBeforeMs, performance.now() - dueMs) / 1000 }],
    'max',
  );
  return () => clearTimeout(timer);
}
