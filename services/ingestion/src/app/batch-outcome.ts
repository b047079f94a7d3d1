import type { Reason } from '@millrace/kernel';

export type Rejection = {
  readonly index: number;
  readonly eventId: string;
  readonly reason: Reason;
  readonly field: string;
  readonly message: string;
  readonly quarantineId: string;
};

/** What became of one event: accepted now, accepted before, or rejected for a reason. */
export type EventOutcome = 'accepted' | 'duplicate' | Rejection;

export type BatchOutcome = {
  readonly outcomes: readonly EventOutcome[];
  readonly accepted: number;
  readonly duplicates: number;
  readonly rejections: readonly Rejection[];
  /** The position in the EVENTS stream of the last event; 0 when none was accepted. */
  readonly position: number;
  readonly knownTimeUs: number;
};
