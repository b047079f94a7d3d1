import { type Clock, MeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { type PackedMessage, packRows } from '../domain/pack.ts';
import { Problem, problem } from '../domain/problem.ts';
import { batchEventsMax, type RawEvent } from '../domain/raw-event.ts';
import type { SourceValidator } from '../domain/source-validator.ts';
import { batchGate } from './batch-gate.ts';
import type { BatchOutcome, EventOutcome, Rejection } from './batch-outcome.ts';
import type { IdBook, Ticket } from './id-book.ts';
import type { IngestionMetrics } from './ingestion-metrics.ts';

/** Appends to the EVENTS stream; retries until it is durable or the process stops. */
export type EventLog = {
  append(message: PackedMessage, traceparent: string | undefined): Promise<number>;
};

export type RejectedEvent = {
  readonly source: string;
  readonly event: RawEvent;
  readonly id: string;
  readonly why: Problem;
};

/** Keeps rejected events; settles once all are durable, with their ids in quarantine. */
export type Quarantine = { keep(rejected: readonly RejectedEvent[], nowUs: number): Promise<string[]> };

export type AcceptOptions = {
  readonly traceparent?: string | undefined;
  /** False for a replay: what is rejected again is in quarantine already. */
  readonly keepRejected?: boolean;
};

export type AcceptBatch = (
  source: string,
  events: readonly RawEvent[],
  options?: AcceptOptions,
) => Promise<BatchOutcome>;

/**
 * Validate, tell duplicates, pack, publish, quarantine. Settles when every accepted event is durable in EVENTS and every rejected
 * one in QUARANTINE. Once begun, a batch is carried through even when its caller has left: its ids stay taken.
 */
export function createAcceptBatch(deps: {
  readonly validators: { of(source: string): Promise<SourceValidator> };
  readonly ids: IdBook;
  readonly log: EventLog;
  readonly quarantine: Quarantine;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly metrics: IngestionMetrics;
  readonly limits: { readonly batchesInFlightMax: number; readonly batchesWaitingMax: number };
}): AcceptBatch {
  const { validators, ids, log, quarantine, clock, telemetry, metrics } = deps;
  const gate = batchGate(deps.limits);
  metrics.queueDepth(() => gate.waiting);

  return async (source, events, options = {}) => {
    checkSize(source, events.length);
    const validator = await validators.of(source);
    return gate.run(() =>
      telemetry.tracer.span(
        'ingestion.accept',
        {
          kind: 'producer',
          attributes: { 'millrace.source': source, 'millrace.events': events.length },
          ...parentOf(options),
        },
        () => accept(validator, events, options),
      ),
    );
  };

  async function accept(
    validator: SourceValidator,
    events: readonly RawEvent[],
    options: AcceptOptions,
  ): Promise<BatchOutcome> {
    const startedMs = performance.now();
    const { source } = validator;
    const knownTimeUs = clock.nowUs();
    let fulfil: () => void = () => {};
    let refuse: (cause: unknown) => void = () => {};
    const done = new Promise<void>((resolve, reject) => {
      fulfil = resolve;
      refuse = reject;
    });
    done.catch(() => {});
    const ticket: Ticket = { done, waitFor: new Set() };
    const sorted = sort(validator, events, ticket, knownTimeUs);
    const messages = packRows(validator, sorted.rows, knownTimeUs);
    const traceparent = telemetry.tracer.inject();
    try {
      const published = Promise.all(messages.map((message) => append(message, traceparent)));
      const kept =
        options.keepRejected === false ? sorted.rejected.map(() => '') : quarantine.keep(sorted.rejected, knownTimeUs);
      const [positions, quarantineIds] = await Promise.all([published, kept]);
      fulfil();
      if (ticket.waitFor.size > 0) await Promise.all(ticket.waitFor);
      const outcome = outcomeOf(sorted, positions, quarantineIds, knownTimeUs);
      metrics.batch(source, outcome, (performance.now() - startedMs) / 1000, options.keepRejected !== false);
      return outcome;
    } catch (cause) {
      refuse(cause);
      throw cause;
    }
  }

  /** The synchronous part: every event is accepted, a duplicate or rejected when it returns. */
  function sort(validator: SourceValidator, events: readonly RawEvent[], ticket: Ticket, nowUs: number) {
    const { source } = validator;
    const rows = validator.open(events.length);
    const limits = { nowUs, frontierUs: ids.tally(source).frontierUs };
    const outcomes: ('accepted' | 'duplicate' | Problem)[] = [];
    const rejected: RejectedEvent[] = [];
    const reject = (event: RawEvent, why: Problem) => {
      outcomes.push(why);
      rejected.push({ source, event, id: rows.id, why });
    };
    for (const event of events) {
      const wrong = rows.read(event, limits);
      if (wrong !== null) {
        reject(event, wrong);
        continue;
      }
      switch (ids.claim(source, rows.id, rows.hash.lo, rows.hash.hi, ticket)) {
        case 'new':
          rows.keep();
          outcomes.push('accepted');
          break;
        case 'duplicate':
          outcomes.push('duplicate');
          break;
        case 'conflict':
          reject(event, idConflict(source, rows.id));
          break;
      }
    }
    return { rows, outcomes, rejected };
  }

  async function append(message: PackedMessage, traceparent: string | undefined): Promise<number> {
    const flight = ids.depart();
    const position = await log.append(message, traceparent);
    ids.arrive(flight, { position, batch: message.batch });
    return position;
  }
}

function outcomeOf(
  sorted: {
    readonly outcomes: readonly ('accepted' | 'duplicate' | Problem)[];
    readonly rejected: readonly RejectedEvent[];
  },
  positions: readonly number[],
  quarantineIds: readonly string[],
  knownTimeUs: number,
): BatchOutcome {
  const rejections: Rejection[] = [];
  let accepted = 0;
  const outcomes = sorted.outcomes.map((outcome, index): EventOutcome => {
    if (!(outcome instanceof Problem)) {
      if (outcome === 'accepted') accepted++;
      return outcome;
    }
    const at = rejections.length;
    const eventId = sorted.rejected[at]?.id ?? '';
    const { reason, field, message } = outcome;
    const rejection = { index, eventId, reason, field, message, quarantineId: quarantineIds[at] ?? '' };
    rejections.push(rejection);
    return rejection;
  });
  const duplicates = outcomes.length - accepted - rejections.length;
  const position = positions.reduce((a, b) => Math.max(a, b), 0);
  return { outcomes, accepted, duplicates, rejections, position, knownTimeUs };
}

function idConflict(source: string, id: string): Problem {
  return problem(
    'ID_CONFLICT',
    'id',
    `event id "${id}" of source "${source}" was accepted before with another payload; give a corrected event a new id`,
  );
}

function parentOf({ traceparent }: AcceptOptions): { parent?: string } {
  return traceparent === undefined ? {} : { parent: traceparent };
}

function checkSize(source: string, events: number): void {
  if (events === 0) {
    throw new MeshError('EMPTY_BATCH', `the batch for source "${source}" has no events; send 1 to ${batchEventsMax}`, {
      source,
    });
  }
  if (events > batchEventsMax) {
    throw new MeshError(
      'TOO_MANY_EVENTS',
      `the batch for source "${source}" has ${events} events, more than the limit of ${batchEventsMax}; split it`,
      {
        source,
        events,
        limit: batchEventsMax,
      },
    );
  }
}
