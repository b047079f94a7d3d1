import { type Definitions, isRegistered, unknownSource } from './definitions.ts';
import type { HistoryWriter } from './history-writer.ts';
import type { IdBook } from './id-book.ts';
import type { IngestionMetrics } from './ingestion-metrics.ts';

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
  readonly definitions: Definitions;
  readonly ids: IdBook;
  readonly history: HistoryWriter;
  readonly metrics: IngestionMetrics;
}): (source: string) => Promise<SourceProgress[]> {
  const { definitions, ids, history, metrics } = deps;
  return async (source) => {
    if (source === '') return [...definitions.current().sources.keys()].map(progressOf);
    if (!(await isRegistered(definitions, source))) throw unknownSource(source, definitions.current().sources.keys());
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
