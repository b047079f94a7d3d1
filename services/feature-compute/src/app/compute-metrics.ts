import type { Metrics } from '@millrace/runtime';

const secondsBuckets = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

export type ComputeMetrics = ReturnType<typeof createComputeMetrics>;

/** The service's metrics, and the totals that GetStatus tells. */
export function createComputeMetrics(metrics: Metrics) {
  const events = metrics.counter('millrace_compute_events_applied_total', 'events applied, once for each view', [
    'source',
  ]);
  const skipped = metrics.counter('millrace_compute_events_skipped_total', 'messages that could not be read');
  const rows = metrics.counter('millrace_compute_rows_written_total', 'rows written to the hot store');
  const stale = metrics.counter('millrace_compute_rows_stale_total', 'rows that a newer position had overtaken');
  const compared = metrics.counter('parity_compared_total', 'served values compared with history');
  const mismatched = metrics.counter('parity_mismatch_total', 'served values that differ from history', ['feature']);
  const totals = { eventsApplied: 0, rowsWritten: 0, parityCompared: 0, parityMismatched: 0 };
  return {
    totals: totals as Readonly<typeof totals>,
    eventsApplied: (source: string, count: number) => {
      totals.eventsApplied += count;
      events.inc(count, { source });
    },
    messagesSkipped: skipped,
    rowsWritten: (written: number, overtaken: number) => {
      totals.rowsWritten += written;
      rows.inc(written);
      if (overtaken > 0) stale.inc(overtaken);
    },
    parity: (count: number, mismatchesByFeature: ReadonlyMap<string, number>) => {
      totals.parityCompared += count;
      compared.inc(count);
      for (const [feature, mismatches] of mismatchesByFeature) {
        totals.parityMismatched += mismatches;
        mismatched.inc(mismatches, { feature });
      }
    },
    paritySeconds: metrics.histogram('parity_lag_seconds', 'from an answer to the proof of it', secondsBuckets),
    samplesWaiting: metrics.gauge('parity_samples_waiting', 'served rows that wait to be compared with history'),
    samplesDropped: metrics.counter('parity_samples_dropped_total', 'served rows that were let go unproved'),
    rowWriteFailures: metrics.counter(
      'millrace_compute_row_write_failures_total',
      'flushes that the hot store refused',
    ),
    flushSeconds: metrics.histogram('millrace_compute_flush_seconds', 'encode and write of one flush', secondsBuckets),
    checkpointSeconds: metrics.histogram('millrace_compute_checkpoint_seconds', 'one commit of states', secondsBuckets),
    freshnessSeconds: metrics.histogram(
      'millrace_compute_freshness_seconds',
      'row written less known time of its newest event',
      secondsBuckets,
    ),
    retractionsPending: metrics.gauge(
      'millrace_compute_retractions_pending',
      'corrections and deletions that states do not reflect yet, once for each view',
    ),
    retractionSeconds: metrics.histogram(
      'millrace_compute_retraction_seconds',
      'from the known time of a correction or deletion to a state that reflects it',
      secondsBuckets,
    ),
    entitiesRebuilt: metrics.counter(
      'millrace_compute_entities_rebuilt_total',
      'states that were made anew from history for a correction or deletion',
    ),
    lag: metrics.gauge('millrace_compute_lag_messages', 'messages of the EVENTS stream not yet applied'),
    rowsBehind: metrics.gauge('millrace_compute_rows_behind', 'entities whose row is behind their state'),
    entitiesInMemory: metrics.gauge('millrace_compute_entities_in_memory', 'entities in the working set'),
    lateDropped: metrics.gauge('millrace_compute_late_dropped', 'events older than every window of a view', ['view']),
  };
}
