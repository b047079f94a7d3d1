import type { Reason } from '@millrace/kernel';
import type { Problem } from '../domain/problem.ts';
import type { RawEvent } from '../domain/raw-event.ts';

export type Rejection = {
  readonly index: number;
  readonly eventId: string;
  readonly reason: Reason;
  readonly field: string;
  readonly message: string;
  readonly quarantineId: string;
  /** The expectation that was not met; empty when the schema was not. */
  readonly expectation: string;
};

/** An expectation of severity WARN that accepted events, or their batch, did not meet. */
export type Warning = { readonly expectation: string; readonly events: number; readonly message: string };

export type RejectedEvent = {
  readonly source: string;
  readonly sourceVersion: string;
  readonly event: RawEvent;
  readonly id: string;
  readonly why: Problem;
  /** Where it is set aside with all of its batch. */
  readonly batch?: { readonly id: string; readonly events: number };
};

/** What became of one event: accepted now, accepted before, or rejected for a reason. */
export type EventOutcome = 'accepted' | 'duplicate' | Rejection;

export type BatchOutcome = {
  readonly outcomes: readonly EventOutcome[];
  readonly accepted: number;
  readonly duplicates: number;
  readonly rejections: readonly Rejection[];
  readonly warnings: readonly Warning[];
  /** The position in the EVENTS stream of the last event; 0 when none was accepted. */
  readonly position: number;
  readonly knownTimeUs: number;
};
