import { type Clock, MeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { type PackedMessage, packRows } from '../domain/pack.ts';
import { Problem } from '../domain/problem.ts';
import { batchEventsMax, type RawEvent } from '../domain/raw-event.ts';
import type { RowTally } from '../domain/row-tally.ts';
import type { SetMode } from '../domain/set-gate.ts';
import { batchGate } from './batch-gate.ts';
import type { BatchOutcome, EventOutcome, RejectedEvent, Rejection } from './batch-outcome.ts';
import { intervalStarts } from './expectation-judge.ts';
import { type IdBook, newTicket } from './id-book.ts';
import type { IngestionMetrics } from './ingestion-metrics.ts';
import type { Intake } from './intakes.ts';
import { type Sorted, sortBatch } from './sort-batch.ts';
import type { SourceBlocks } from './source-blocks.ts';

/** Appends to the EVENTS stream; retries until it is durable or the process stops. */
export type EventLog = {
  append(message: PackedMessage, traceparent: string | undefined): Promise<number>;
};

/** Keeps rejected events; settles once all are durable, with their ids in quarantine. */
export type Quarantine = { keep(rejected: readonly RejectedEvent[], nowUs: number): Promise<string[]> };

export type AcceptOptions = {
  readonly traceparent?: string | undefined;
  /** False for a replay: what is rejected again is in quarantine already. */
  readonly keepRejected?: boolean;
  /** What an expectation of severity BLOCK does, and a source that is blocked; `refuse` unless set. */
  readonly onBlock?: 'refuse' | 'quarantine';
  /** How the checks of batches look at it; as it comes unless set. */
  readonly sets?: SetMode;
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
  readonly intakes: { of(source: string): Promise<Intake> };
  readonly ids: IdBook;
  readonly log: EventLog;
  readonly quarantine: Quarantine;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly metrics: IngestionMetrics;
  readonly tally: RowTally;
  readonly blocks: Pick<SourceBlocks, 'assertOpen' | 'problemOf'>;
  readonly limits: { readonly batchesInFlightMax: number; readonly batchesWaitingMax: number };
}): AcceptBatch {
  const { intakes, ids, log, quarantine, clock, telemetry, metrics } = deps;
  const gate = batchGate(deps.limits);
  metrics.queueDepth(() => gate.waiting);

  return async (source, events, options = {}) => {
    checkBatchSize(source, events.length);
    const intake = await intakes.of(source);
    return gate.run(() =>
      telemetry.tracer.span(
        'ingestion.accept',
        {
          kind: 'producer',
          attributes: { 'millrace.source': source, 'millrace.events': events.length },
          ...parentOf(options),
        },
        () => accept(intake, events, options),
      ),
    );
  };

  async function accept(intake: Intake, events: readonly RawEvent[], options: AcceptOptions): Promise<BatchOutcome> {
    const startedMs = performance.now();
    const { validator } = intake;
    const { source } = validator;
    const { onBlock = 'refuse' } = options;
    if (onBlock === 'refuse') deps.blocks.assertOpen(source);
    const knownTimeUs = clock.nowUs();
    let fulfil: () => void = () => {};
    let refuse: (cause: unknown) => void = () => {};
    const done = new Promise<void>((resolve, reject) => {
      fulfil = resolve;
      refuse = reject;
    });
    done.catch(() => {});
    const ticket = newTicket(done);
    const limits = { nowUs: knownTimeUs, frontierUs: ids.tally(source).frontierUs };
    const sorted = sortBatch(intake, ids, ticket, events, {
      limits,
      onBlock,
      sets: options.sets,
      onVerdicts: (verdicts) => {
        for (const verdict of verdicts) {
          if (verdict.outcome === 'FAIL' && verdict.severity === 'block' && onBlock === 'refuse')
            metrics.blocked(source, verdict.expectation);
        }
        deps.tally.addBatch(source, intervalStarts(validator, 'batch', knownTimeUs), verdicts);
      },
      shut: deps.blocks.problemOf(source),
      onRefusal: (expectation) => {
        metrics.blocked(source, expectation);
        deps.tally.add(source, intervalStarts(validator, 'row', knownTimeUs), 1, new Map([[expectation, 1]]));
      },
    });
    if (intake.openGate !== undefined) count(source, sorted, intervalStarts(validator, 'row', knownTimeUs));
    const waves = packRows(validator, sorted.rows, knownTimeUs);
    const traceparent = telemetry.tracer.inject();
    try {
      const published = appendWaves(waves, ticket.before, traceparent);
      const kept =
        options.keepRejected === false ? sorted.rejected.map(() => '') : quarantine.keep(sorted.rejected, knownTimeUs);
      const [positions, quarantineIds] = await Promise.all([published, kept]);
      fulfil();
      if (ticket.waitFor.size > 0) await Promise.all(ticket.waitFor);
      const outcome = outcomeOf(sorted, positions, quarantineIds, knownTimeUs);
      metrics.batch(source, outcome, (performance.now() - startedMs) / 1000, options.keepRejected !== false);
      metrics.treated(source, sorted.notes);
      return outcome;
    } catch (cause) {
      refuse(cause);
      throw cause;
    }
  }

  /** How many events the expectations looked at, and how many fail each. */
  function count(source: string, { rows, rejected, warnings }: Sorted, startsUs: ReadonlyMap<string, number>): void {
    const failed = new Map([...warnings.values()].map(({ expectation, events }) => [expectation, events]));
    let looked = rows.count;
    for (const { why } of rejected) {
      if (why.reason !== 'EXPECTATION_FAILED') continue;
      looked++;
      failed.set(why.expectation, (failed.get(why.expectation) ?? 0) + 1);
    }
    if (looked > 0) deps.tally.add(source, startsUs, looked, failed);
  }

  /** The positions of all messages, a wave after the other. */
  async function appendWaves(
    waves: readonly (readonly PackedMessage[])[],
    before: ReadonlySet<Promise<void>>,
    traceparent: string | undefined,
  ): Promise<number[]> {
    if (before.size > 0) await Promise.all(before);
    const positions: number[] = [];
    for (const wave of waves)
      positions.push(...(await Promise.all(wave.map((message) => append(message, traceparent)))));
    return positions;
  }

  async function append(message: PackedMessage, traceparent: string | undefined): Promise<number> {
    const flight = ids.depart();
    const position = await log.append(message, traceparent);
    ids.arrive(flight, { position, batch: message.batch });
    return position;
  }
}

function outcomeOf(
  sorted: Sorted,
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
    const { reason, field, message, expectation } = outcome;
    const rejection = { index, eventId, reason, field, message, expectation, quarantineId: quarantineIds[at] ?? '' };
    rejections.push(rejection);
    return rejection;
  });
  const duplicates = outcomes.length - accepted - rejections.length;
  const position = positions.reduce((a, b) => Math.max(a, b), 0);
  const warnings = [...sorted.warnings.values()];
  return { outcomes, accepted, duplicates, rejections, warnings, position, knownTimeUs };
}

function parentOf({ traceparent }: AcceptOptions): { parent?: string } {
  return traceparent === undefined ? {} : { parent: traceparent };
}

export function checkBatchSize(source: string, events: number): void {
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
