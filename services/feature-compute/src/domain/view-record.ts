import type { ViewDefinition } from '@millrace/features';
import type { SavedRetractions } from './retractions.ts';

/**
 * The life of a view version. `warming`: live events are applied while history is read; a crash starts it over.
 * `dropping`: nothing refers to it any more and its states and rows are being removed.
 */
export type ViewPhase = 'warming' | 'ready' | 'dropping';

/** What is saved of a view version beside its states; the definition too, so that an old version needs no registry. */
export type ViewRecord = {
  readonly definition: ViewDefinition;
  phase: ViewPhase;
  /** Live events count from this position on; those up to it come from history. */
  startPosition: number;
  entities: number;
  lateDropped: number;
};

export function viewId(name: string, version: string): string {
  return `${name}@${version}`;
}

/** Everything that one checkpoint says beside the states. */
export type CheckpointMeta = {
  /** 1: every state is as of the position. 2: none is before it, and some may be after it, up to `reached`. */
  readonly format: 1 | 2;
  readonly position: number;
  readonly reached?: number;
  readonly frontiers: Readonly<Record<string, number>>;
  readonly views: Readonly<Record<string, ViewRecord>>;
  /** Entities whose rows were behind their states, by view id; `all` when they were too many to list. */
  readonly pendingRows: Readonly<Record<string, readonly string[] | 'all'>>;
  /** Retractions that the states do not reflect yet, by view id; left out where there are none. */
  readonly retractions?: Readonly<Record<string, SavedRetractions>>;
};
