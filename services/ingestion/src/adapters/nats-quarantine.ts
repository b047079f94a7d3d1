import { createHash } from 'node:crypto';
import { events as wire } from '@millrace/contracts';
import { createPublisher, type NatsLink, readStream, streamInfo, subjects } from '@millrace/events';
import { newId } from '@millrace/kernel';
import type { Quarantine } from '../app/accept-batch.ts';
import type { RejectedEvent } from '../app/batch-outcome.ts';
import { formHeader, type QuarantineShelf, type ShelfFilter, writerHeader } from '../app/quarantine-desk.ts';
import { eventBytesMax, operationHeader, sequenceHeader } from '../domain/raw-event.ts';

const stream = 'QUARANTINE';
const headersMax = 64;

/** The QUARANTINE stream: rejected events with their original bytes, up to the limit of one event. */
export function createNatsQuarantine(
  link: NatsLink,
  options: { readonly signal: AbortSignal; readonly maxInFlight: number },
): Quarantine & QuarantineShelf {
  const publisher = createPublisher(link, { maxInFlight: options.maxInFlight });

  return {
    keep: (rejected, nowUs) => Promise.all(rejected.map((one) => keepOne(one, nowUs))),

    async *read(filter, afterPosition) {
      const subject = subjectOf(filter);
      if (!(await hasNext(subject, afterPosition))) return;
      const { lastSeq: last } = await streamInfo(link, stream);
      const reading = readStream(link, { stream, fromSeq: afterPosition + 1, filter: subject, signal: options.signal });
      for await (const { seq, data, pending } of reading) {
        if (seq <= last) yield { ...wire.QuarantinedEvent.decode(data), position: BigInt(seq) };
        if (seq >= last || pending === 0) return;
      }
    },

    async count(filter) {
      const info = await link.jsm.streams.info(stream, { subjects_filter: subjectOf(filter) });
      return Object.values(info.state.subjects ?? {}).reduce((sum, messages) => sum + messages, 0);
    },

    async remove(position) {
      await link.jsm.streams.deleteMessage(stream, position, false);
    },
  };

  /** The id is made of what was rejected, so a publisher that retries finds the same entry within JetStream's duplicate window. */
  async function keepOne(rejected: RejectedEvent, nowUs: number): Promise<string> {
    const { source, id, event, why } = rejected;
    const quarantineId = createHash('sha256')
      .update(`${source}\n${id}\n${why.reason}\n${event.eventTimeUs}\n${why.expectation}`)
      .update(event.payload)
      .digest('hex')
      .slice(0, 24);
    const subject = subjects.quarantine(token(source), why.reason);
    const bytes = wire.QuarantinedEvent.encode(message(rejected, quarantineId, nowUs)).finish();
    const { signal } = options;
    const { seq, duplicate } = await publisher.publish(subject, bytes, { msgId: quarantineId, signal });
    // The earlier entry may have been replayed and removed since: then this one is news.
    if (duplicate && !(await exists(seq))) await publisher.publish(subject, bytes, { msgId: newId(), signal });
    return quarantineId;
  }

  async function exists(position: number): Promise<boolean> {
    return (await link.jsm.streams.getMessage(stream, { seq: position }).catch(() => null)) !== null;
  }

  /** Asked forwards: once the last message of a subject is deleted, servers may answer that it never had one. */
  async function hasNext(subject: string, afterPosition: number): Promise<boolean> {
    const query = { seq: afterPosition + 1, next_by_subj: subject };
    return (await link.jsm.streams.getMessage(stream, query).catch(() => null)) !== null;
  }
}

function message(
  { source, sourceVersion, id, event, why, batch }: RejectedEvent,
  quarantineId: string,
  nowUs: number,
): wire.QuarantinedEvent {
  const headers = new Map(Object.entries(event.headers ?? {}).slice(0, headersMax - 5));
  headers.set(formHeader, event.form);
  if (event.writer) headers.set(writerHeader, event.writer);
  if (event.operation !== undefined) headers.set(operationHeader, event.operation);
  if (event.sequence !== undefined) headers.set(sequenceHeader, String(event.sequence));
  if (event.payload.length > eventBytesMax) headers.set('millrace-original-bytes', String(event.payload.length));
  return {
    quarantineId,
    source,
    // A CloudEvent brings its own id again at the replay; only what the envelope gave is kept.
    eventId: event.id || id,
    payload: Buffer.from(event.payload.subarray(0, eventBytesMax)),
    reason: why.reason,
    field: why.field,
    message: why.message,
    quarantinedUs: BigInt(nowUs),
    eventTimeUs: BigInt(event.eventTimeUs),
    headers,
    position: 0n,
    expectation: why.expectation,
    sourceVersion,
    batchId: batch?.id,
    batchEvents: batch?.events,
  };
}

function subjectOf({ source, reason }: ShelfFilter): string {
  return `millrace.quarantine.${source === '' ? '*' : token(source)}.${reason === '' ? '*' : token(reason)}`;
}

/** A name as one token of a subject. */
function token(name: string): string {
  return name.replace(/[^A-Za-z0-9_-]/g, '_') || '_';
}
