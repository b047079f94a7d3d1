import type { events as wire } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import type { RawEvent } from '../domain/raw-event.ts';
import type { AcceptBatch } from './accept-batch.ts';

export type QuarantinedEvent = wire.QuarantinedEvent;

/** Empty strings match everything. */
export type QuarantineFilter = { readonly source: string; readonly reason: string };

/** The QUARANTINE stream. */
export type QuarantineShelf = {
  /** Matching events after a position, oldest first, up to what was there when the read began. */
  read(filter: QuarantineFilter, afterPosition: number): AsyncIterable<QuarantinedEvent>;
  count(filter: QuarantineFilter): Promise<number>;
  remove(position: number): Promise<void>;
};

const listDefault = 100;
const listMax = 1_000;
const idsMax = 1_000;
const replayBatch = 500;

export type ReplayTotals = { accepted: number; duplicates: number; rejected: number };

/** Lists rejected events, and tries them again. */
export function createQuarantineDesk(deps: { readonly shelf: QuarantineShelf; readonly accept: AcceptBatch }) {
  const { shelf, accept } = deps;
  return {
    async list(filter: QuarantineFilter, afterPosition: number, limit: number) {
      if (limit < 0 || limit > listMax) throw tooMany('limit', limit, listMax);
      const wanted = limit || listDefault;
      const total = await shelf.count(filter);
      const found: QuarantinedEvent[] = [];
      if (total === 0) return { events: found, total };
      for await (const event of shelf.read(filter, afterPosition)) {
        found.push(event);
        if (found.length === wanted) break;
      }
      return { events: found, total };
    },

    /** What is accepted leaves quarantine; a crash in between leaves a duplicate, which leaves at the next replay. */
    async replay(filter: QuarantineFilter, ids: readonly string[], signal: AbortSignal): Promise<ReplayTotals> {
      if (filter.source === '')
        throw new MeshError('INVALID_ARGUMENT', 'the source is missing; name the source to replay', {});
      if (ids.length > idsMax) throw tooMany('quarantine_ids', ids.length, idsMax);
      const wanted = ids.length > 0 ? new Set(ids) : undefined;
      const totals: ReplayTotals = { accepted: 0, duplicates: 0, rejected: 0 };
      if ((await shelf.count(filter)) === 0) return totals;
      let group: QuarantinedEvent[] = [];
      for await (const event of shelf.read(filter, 0)) {
        signal.throwIfAborted();
        if (wanted !== undefined && !wanted.has(event.quarantineId)) continue;
        group.push(event);
        if (group.length < replayBatch) continue;
        await replayGroup(filter.source, group, totals);
        group = [];
      }
      if (group.length > 0) await replayGroup(filter.source, group, totals);
      return totals;
    },
  };

  async function replayGroup(source: string, group: readonly QuarantinedEvent[], totals: ReplayTotals): Promise<void> {
    const { outcomes } = await accept(source, group.map(toRawEvent), { keepRejected: false });
    for (const [at, outcome] of outcomes.entries()) {
      if (outcome === 'accepted') totals.accepted++;
      else if (outcome === 'duplicate') totals.duplicates++;
      else {
        totals.rejected++;
        continue;
      }
      await shelf.remove(Number(group[at]?.position));
    }
  }
}

/** The header that remembers in which form an event came. */
export const formHeader = 'millrace-form';

function toRawEvent(event: QuarantinedEvent): RawEvent {
  return {
    id: event.eventId,
    eventTimeUs: Number(event.eventTimeUs),
    payload: event.payload,
    form: event.headers.get(formHeader) === 'open' ? 'open' : 'fields',
    headers: Object.fromEntries(event.headers),
  };
}

function tooMany(what: string, value: number, limit: number): MeshError {
  return new MeshError(
    'LIMIT_EXCEEDED',
    `${what} ${value} is more than the limit of ${limit}; ask for less at a time`,
    { value, limit },
  );
}
