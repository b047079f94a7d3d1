import type { events as wire } from '@millrace/contracts';
import { type Clock, MeshError } from '@millrace/kernel';
import type { PayloadCodec } from '@millrace/payloads';
import { fieldsSent, patched } from '../domain/merge-patch.ts';
import type { JsonObject } from '../domain/parse-json.ts';
import { Problem } from '../domain/problem.ts';
import { batchEventsMax, eventForms, operationHeader, type RawEvent, sequenceHeader } from '../domain/raw-event.ts';
import { remedyOf } from '../domain/remedies.ts';
import type { SetMode } from '../domain/set-gate.ts';
import type { AcceptBatch } from './accept-batch.ts';
import type { AuditTrail } from './audit-trail.ts';
import type { EventOutcome, Rejection } from './batch-outcome.ts';
import type { Judge } from './judge.ts';
import { replayGroups } from './replay-groups.ts';
import type { Person } from './source-blocks.ts';

export type QuarantinedEvent = wire.QuarantinedEvent;

/** Empty strings match everything. */
export type ShelfFilter = { readonly source: string; readonly reason: string };
export type QuarantineFilter = ShelfFilter & {
  readonly expectation: string;
  readonly field: string;
  /** Of events that were set aside together. */
  readonly batchId?: string | undefined;
};

/** The QUARANTINE stream. */
export type QuarantineShelf = {
  /** Matching events after a position, oldest first, up to what was there when the read began. */
  read(filter: ShelfFilter, afterPosition: number): AsyncIterable<QuarantinedEvent>;
  count(filter: ShelfFilter): Promise<number>;
  remove(position: number): Promise<void>;
};

export type ReplayOptions = {
  /** Events that somebody has looked at: checks of batches do not look at them again. Empty: all that match. */
  readonly ids: readonly string[];
  /** Merged into each event's fields. */
  readonly patch?: JsonObject | undefined;
  readonly dryRun?: boolean;
  /** For the one event that is named. */
  readonly newEventId?: string;
  readonly person: Person;
};

const listDefault = 100;
const listMax = 1_000;
const idsMax = 1_000;
const rejectionsMax = 100;
/** Quarantine ids that an audit entry names. */
const idsNotedMax = 100;
const valueMax = 1_000;

export type ReplayTotals = { accepted: number; duplicates: number; rejected: number; rejections: Rejection[] };

export type Explanation = {
  readonly event: QuarantinedEvent;
  readonly valueJson: string;
  readonly remedy: string;
  readonly wouldPass: boolean;
  readonly message: string;
};

/** Lists rejected events, explains them, and tries them again, corrected or as they are. */
export function createQuarantineDesk(deps: {
  readonly shelf: QuarantineShelf;
  readonly accept: AcceptBatch;
  readonly judge: Judge;
  readonly audit: AuditTrail;
  readonly clock: Clock;
  readonly intakes: {
    of(source: string): Promise<{ readonly validator: { readonly codec: PayloadCodec | undefined } }>;
  };
}) {
  const { shelf, accept, judge } = deps;
  /** Undefined for JSON alone, and for a source that is gone. */
  const codecOf = async (source: string): Promise<PayloadCodec | undefined> => {
    const intake = await deps.intakes.of(source).catch((cause: unknown) => {
      if (cause instanceof MeshError && cause.reason === 'UNKNOWN_SOURCE') return undefined;
      throw cause;
    });
    return intake?.validator.codec;
  };
  return {
    async list(filter: QuarantineFilter, afterPosition: number, limit: number) {
      if (limit < 0 || limit > listMax) throw tooMany('limit', limit, listMax);
      const wanted = limit || listDefault;
      const total = await shelf.count(filter);
      const found: QuarantinedEvent[] = [];
      if (total === 0) return { events: found, total };
      for await (const event of matching(filter, afterPosition)) {
        found.push(event);
        if (found.length === wanted) break;
      }
      return { events: found, total };
    },

    async explain(source: string, quarantineId: string): Promise<Explanation> {
      const event = await find(source, quarantineId);
      const raw = toRawEvent(event);
      const value = event.field === '' ? undefined : fieldsSent(raw, await codecOf(event.source))?.[event.field];
      const now = await judged(event, raw).catch((cause: unknown) => cause as MeshError);
      const wrong = now instanceof Problem || now instanceof MeshError ? now : undefined;
      return {
        event,
        valueJson: value === undefined ? '' : JSON.stringify(value).slice(0, valueMax),
        remedy: remedyOf(event),
        wouldPass: wrong === undefined,
        message: wrong?.message ?? '',
      };
    },

    /** What is accepted leaves quarantine; a crash in between leaves a duplicate, which leaves at the next replay. */
    async replay(filter: QuarantineFilter, options: ReplayOptions, signal: AbortSignal): Promise<ReplayTotals> {
      const { ids, newEventId = '' } = options;
      if (filter.source === '')
        throw new MeshError('INVALID_ARGUMENT', 'the source is missing; name the source to replay', {});
      if (ids.length > idsMax) throw tooMany('quarantine_ids', ids.length, idsMax);
      if (newEventId !== '' && ids.length !== 1)
        throw new MeshError('INVALID_ARGUMENT', 'a new event id is for one event; name its quarantine id alone', {
          ids: ids.length,
        });
      const wanted = ids.length > 0 ? new Set(ids) : undefined;
      const totals: ReplayTotals = { accepted: 0, duplicates: 0, rejected: 0, rejections: [] };
      if ((await shelf.count(filter)) === 0) return totals;
      const found = async function* () {
        for await (const event of matching(filter, 0)) {
          signal.throwIfAborted();
          if (wanted === undefined || wanted.has(event.quarantineId)) yield event;
        }
      };
      for await (const { events, setAsideBy } of replayGroups(found())) {
        const sets: SetMode =
          wanted !== undefined || setAsideBy === undefined ? { t: 'waived' } : { t: 'again', expectation: setAsideBy };
        await replayGroup(filter.source, events, { ...options, sets }, totals);
      }
      if (!options.dryRun && totals.accepted + totals.duplicates > 0) await note(filter, options, totals);
      return totals;
    },
  };

  /** Who let in what was set aside, and with which corrections. */
  async function note(filter: QuarantineFilter, options: ReplayOptions, totals: ReplayTotals): Promise<void> {
    const { source: name, reason, expectation, field, batchId } = filter;
    const { ids, patch, newEventId, person } = options;
    const { accepted, duplicates, rejected } = totals;
    await deps.audit({
      ...person,
      atUs: deps.clock.nowUs(),
      kind: 'quarantine',
      name,
      action: patch === undefined && newEventId === '' ? 'replay' : 'fix',
      detail: {
        filter: { reason, expectation, field, batchId, ids: ids.slice(0, idsNotedMax), idsNamed: ids.length },
        patch: JSON.stringify(patch ?? {}).slice(0, valueMax),
        newEventId,
        accepted,
        duplicates,
        rejected,
      },
    });
  }

  async function* matching(filter: QuarantineFilter, afterPosition: number): AsyncIterable<QuarantinedEvent> {
    for await (const event of shelf.read(filter, afterPosition)) {
      if (filter.expectation !== '' && event.expectation !== filter.expectation) continue;
      if (filter.field !== '' && event.field !== filter.field) continue;
      if (filter.batchId !== undefined && event.batchId !== filter.batchId) continue;
      yield event;
    }
  }

  /** What would become of an event now; of one that was set aside with its batch, together with what is left of that. */
  async function judged(
    event: QuarantinedEvent,
    raw: RawEvent,
  ): Promise<'accepted' | 'duplicate' | Problem | undefined> {
    const { source, batchId, expectation } = event;
    if (batchId === undefined) return (await judge(source, [raw]))[0];
    const batch: QuarantinedEvent[] = [];
    for await (const other of matching({ source, reason: event.reason, expectation, field: '', batchId }, 0))
      if (batch.length < batchEventsMax) batch.push(other);
    const at = batch.findIndex(({ quarantineId }) => quarantineId === event.quarantineId);
    return (await judge(source, batch.map(toRawEvent), { t: 'again', expectation }))[at];
  }

  async function find(source: string, quarantineId: string): Promise<QuarantinedEvent> {
    for await (const event of shelf.read({ source, reason: '' }, 0)) {
      if (event.quarantineId === quarantineId) return event;
    }
    throw new MeshError(
      'UNKNOWN_EVENT',
      `quarantine has no event "${quarantineId}"; it was replayed, or see: millrace quarantine list`,
      { source, quarantineId },
    );
  }

  async function replayGroup(
    source: string,
    group: readonly QuarantinedEvent[],
    options: ReplayOptions & { readonly sets: SetMode },
    totals: ReplayTotals,
  ): Promise<void> {
    const { patch, newEventId = '', sets } = options;
    const codec = patch === undefined ? undefined : await codecOf(source);
    const events = group.map((event) => {
      const raw = toRawEvent(event);
      const renamed = newEventId === '' ? raw : { ...raw, id: newEventId };
      return patch === undefined ? renamed : patched(renamed, patch, codec);
    });
    const outcomes = options.dryRun
      ? (await judge(source, events, sets)).map((outcome, index) => toOutcome(outcome, index, events[index]?.id ?? ''))
      : (await accept(source, events, { keepRejected: false, onBlock: 'quarantine', sets })).outcomes;
    for (const [at, outcome] of outcomes.entries()) {
      if (outcome === 'accepted') totals.accepted++;
      else if (outcome === 'duplicate') totals.duplicates++;
      else {
        totals.rejected++;
        const quarantineId = group[at]?.quarantineId ?? '';
        if (totals.rejections.length < rejectionsMax) totals.rejections.push({ ...outcome, quarantineId });
        continue;
      }
      if (!options.dryRun) await shelf.remove(Number(group[at]?.position));
    }
  }
}

function toOutcome(outcome: 'accepted' | 'duplicate' | Problem, index: number, eventId: string): EventOutcome {
  if (!(outcome instanceof Problem)) return outcome;
  const { reason, field, message, expectation } = outcome;
  return { index, eventId, reason, field, message, expectation, quarantineId: '' };
}

/** The headers that remember in which form an event came, and what wrote it. */
export const formHeader = 'millrace-form';
export const writerHeader = 'millrace-writer';

function toRawEvent(event: QuarantinedEvent): RawEvent {
  const operation = event.headers.get(operationHeader);
  const sequence = event.headers.get(sequenceHeader);
  return {
    id: event.eventId,
    eventTimeUs: Number(event.eventTimeUs),
    payload: event.payload,
    form: eventForms.find((form) => form === event.headers.get(formHeader)) ?? 'fields',
    writer: event.headers.get(writerHeader) ?? readAs(event),
    headers: Object.fromEntries(event.headers),
    ...(operation === undefined ? {} : { operation }),
    ...(sequence === undefined ? {} : { sequence: BigInt(sequence) }),
  };
}

/** What could be read was written with the schema of then; what could not, perhaps with one that was applied since. */
function readAs({ reason, sourceVersion }: QuarantinedEvent): string {
  return reason === 'MALFORMED_PAYLOAD' || reason === 'UNKNOWN_SOURCE' ? '' : sourceVersion;
}

function tooMany(what: string, value: number, limit: number): MeshError {
  return new MeshError(
    'LIMIT_EXCEEDED',
    `${what} ${value} is more than the limit of ${limit}; ask for less at a time`,
    { value, limit },
  );
}
