import type { Metrics } from '@millrace/runtime';
import type { Note } from '../domain/treatments.ts';
import type { BatchOutcome } from './batch-outcome.ts';

export type SourceCounts = { duplicates: number; quarantined: number };

const secondsBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

export type IngestionMetrics = ReturnType<typeof createIngestionMetrics>;

export function createIngestionMetrics(metrics: Metrics) {
  const name = (suffix: string) => `millrace_ingestion_${suffix}`;
  const events = metrics.counter(name('events_total'), 'Events by outcome', ['source', 'outcome']);
  const quarantined = metrics.counter(name('quarantined_total'), 'Events sent to quarantine', ['source', 'reason']);
  const unmet = metrics.counter(name('expectation_failures_total'), 'Events that an expectation was not met by', [
    'source',
    'expectation',
    'outcome',
  ]);
  const treatments = metrics.counter(name('treated_total'), 'Values that were missing or far out, by what was done', [
    'source',
    'field',
    'treatment',
  ]);
  const seconds = metrics.histogram(
    name('batch_seconds'),
    'From the arrival of a batch to its acknowledgement',
    secondsBuckets,
    ['source'],
  );
  const depth = metrics.gauge(name('batches_waiting'), 'Batches that wait for a slot');
  const idsInMemory = metrics.gauge(name('ids_in_memory'), 'Event ids in flight or not yet recorded in the index');
  const historyRows = metrics.counter(name('history_rows_total'), 'Events written to history', ['source']);
  const historyFailures = metrics.counter(name('history_failures_total'), 'Failed writes to history', ['source']);
  const historySeconds = metrics.histogram(name('history_insert_seconds'), 'One insert into history', secondsBuckets, [
    'source',
  ]);
  const historyLag = metrics.gauge(name('history_lag_messages'), 'Messages of EVENTS that history has yet to take', [
    'source',
  ]);
  const blocks = metrics.gauge(name('source_blocked'), '1 while an expectation keeps all events of a source out', [
    'source',
    'expectation',
  ]);
  const counts = new Map<string, SourceCounts>();
  let readDepth = () => 0;

  return {
    queueDepth(read: () => number): void {
      readDepth = read;
    },
    sample(idsWaiting: number): void {
      depth.set(readDepth());
      idsInMemory.set(idsWaiting);
    },
    batch(source: string, outcome: BatchOutcome, tookSeconds: number, kept: boolean): void {
      if (outcome.accepted > 0) events.inc(outcome.accepted, { source, outcome: 'accepted' });
      if (outcome.duplicates > 0) events.inc(outcome.duplicates, { source, outcome: 'duplicate' });
      seconds.observe(tookSeconds, { source });
      for (const { expectation, events: count } of outcome.warnings)
        unmet.inc(count, { source, expectation, outcome: 'warned' });
      const count = countsOf(source);
      count.duplicates += outcome.duplicates;
      if (!kept) return;
      count.quarantined += outcome.rejections.length;
      for (const { reason, expectation } of outcome.rejections) {
        if (reason === 'EXPECTATION_FAILED') unmet.inc(1, { source, expectation, outcome: 'quarantined' });
        events.inc(1, { source, outcome: 'quarantined' });
        quarantined.inc(1, { source, reason });
      }
    },
    treated(source: string, notes: readonly Note[]): void {
      for (const { field, kind } of notes) treatments.inc(1, { source, field, treatment: kind });
    },
    blocked(source: string, expectation: string): void {
      unmet.inc(1, { source, expectation, outcome: 'blocked' });
    },
    sourceBlocked(source: string, expectation: string, stands: boolean): void {
      blocks.set(stands ? 1 : 0, { source, expectation });
    },
    quarantined(source: string, reason: string): void {
      quarantined.inc(1, { source, reason });
    },
    historyWritten(source: string, rows: number, tookSeconds: number, lagMessages: number): void {
      historyRows.inc(rows, { source });
      historySeconds.observe(tookSeconds, { source });
      historyLag.set(lagMessages, { source });
    },
    historyFailed: (source: string) => historyFailures.inc(1, { source }),
    counts: (source: string): Readonly<SourceCounts> => countsOf(source),
  };

  function countsOf(source: string): SourceCounts {
    const count = counts.get(source) ?? { duplicates: 0, quarantined: 0 };
    counts.set(source, count);
    return count;
  }
}
