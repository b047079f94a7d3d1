import {
  createPublisher,
  decodeEventBatch,
  encodeEventBatch,
  type NatsLink,
  readStream,
  streamInfo,
  subjects,
} from '@millrace/events';
import { newId } from '@millrace/kernel';
import type { EventLog } from '../app/accept-batch.ts';
import type { HistoryMessage } from '../app/history-writer.ts';

const stream = 'EVENTS';
/** Well inside the stream's duplicate window of two minutes: past it a message id no longer protects. */
const attemptMs = 60_000;

/** The EVENTS stream; positions are JetStream's stream sequences. */
export function createNatsEventLog(
  link: NatsLink,
  options: { readonly signal: AbortSignal; readonly maxInFlight: number },
) {
  const publisher = createPublisher(link, { maxInFlight: options.maxInFlight });
  let lastPosition = 0;

  const append: EventLog['append'] = async ({ partition, batch }, traceparent) => {
    const subject = subjects.events(batch.source, partition);
    const bytes = encodeEventBatch(batch);
    const msgId = newId();
    const floor = lastPosition;
    for (;;) {
      const signal = AbortSignal.any([options.signal, AbortSignal.timeout(attemptMs)]);
      const headers = traceparent === undefined ? {} : { traceparent };
      try {
        const { seq } = await publisher.publish(subject, bytes, { msgId, headers, signal });
        lastPosition = Math.max(lastPosition, seq);
        return seq;
      } catch (cause) {
        if (options.signal.aborted || !signal.aborted) throw cause;
        // The server may have kept it without being able to say so: look before another try.
        const seq = await find(subject, msgId, floor + 1);
        if (seq !== undefined) return seq;
      }
    }
  };

  async function find(subject: string, msgId: string, from: number): Promise<number | undefined> {
    const { lastSeq } = await streamInfo(link, stream);
    const last = await lastOf(subject);
    if (last < from || lastSeq < from) return undefined;
    for await (const message of readStream(link, { stream, fromSeq: from, filter: subject, signal: options.signal })) {
      if (message.headers['Nats-Msg-Id'] === msgId) return message.seq;
      if (message.seq >= last || message.pending === 0) return undefined;
    }
    return undefined;
  }

  async function lastOf(subject: string): Promise<number> {
    const message = await link.jsm.streams.getMessage(stream, { last_by_subj: subject });
    return message?.seq ?? 0;
  }

  return {
    append,
    async bounds(): Promise<{ first: number; last: number }> {
      const { firstSeq, lastSeq } = await streamInfo(link, stream);
      lastPosition = Math.max(lastPosition, lastSeq);
      return { first: firstSeq, last: lastSeq };
    },
    /** Every message from one position to another, both included. */
    async *read(from: number, to: number) {
      for await (const { seq, data, pending } of readStream(link, { stream, fromSeq: from, signal: options.signal })) {
        yield { position: seq, batch: decodeEventBatch(data) };
        if (seq >= to || pending === 0) return;
      }
    },
    /** A source's messages, for ever. */
    async *follow(source: string, fromSeq: number, signal: AbortSignal): AsyncIterable<HistoryMessage> {
      const filter = `millrace.events.${source}.*`;
      for await (const { seq, data, pending } of readStream(link, { stream, fromSeq, filter, signal })) {
        yield { seq, batch: decodeEventBatch(data), pending };
      }
    },
  };
}
