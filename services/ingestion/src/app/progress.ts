import type { RegistrySnapshot } from '@millrace/registry';
import type { HistoryWriter } from './history-writer.ts';
import type { IdBook } from './id-book.ts';
import type { IngestionMetrics } from './ingestion-metrics.ts';
import { unknownSource } from './validators.ts';

export type SourceProgress = {
  readonly source: string;
  readonly accepted: number;
  readonly duplicates: number;
  readonly quarantined: number;
  readonly frontierUs: number;
  readonly historyPosition: number;
  readonly lastPosition: number;
  readonly historyEvents: number;
};

/** How far each source has come; throws UNKNOWN_SOURCE when one is named that does not exist. */
export function createProgress(deps: {
  readonly snapshot: () => RegistrySnapshot;
  readonly ids: IdBook;
  readonly history: HistoryWriter;
  readonly metrics: IngestionMetrics;
}): (source: string) => SourceProgress[] {
  const { snapshot, ids, history, metrics } = deps;
  return (source) => {
    const names = [...snapshot().sources.keys()];
    if (source === '') return names.map(progressOf);
    if (!names.includes(source)) throw unknownSource(source, names);
    return [progressOf(source)];
  };

  function progressOf(source: string): SourceProgress {
    // The stream's position comes first: what is acknowledged in between cannot be claimed for history.
    const streamPosition = ids.position;
    const { accepted, frontierUs, lastPosition } = ids.tally(source);
    const written = history.progress(source) ?? { position: 0, rows: 0 };
    const { duplicates, quarantined } = metrics.counts(source);
    return {
      source,
      accepted,
      duplicates,
      quarantined,
      frontierUs: Math.max(frontierUs, 0),
      lastPosition,
      historyEvents: written.rows,
      historyPosition: written.position >= lastPosition ? Math.max(streamPosition, written.position) : written.position,
    };
  }
}
