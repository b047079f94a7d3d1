import { decodeEventBatch, type NatsLink, readStream, streamInfo } from '@millrace/events';
import type { EventLog } from '../app/compute.ts';

const stream = 'EVENTS';

/** The EVENTS stream in its own order; positions are JetStream's stream sequences. */
export function createEventLog(link: NatsLink): EventLog {
  return {
    decode: decodeEventBatch,
    read: async function* (fromPosition, signal) {
      for await (const message of readStream(link, { stream, fromSeq: fromPosition, signal })) {
        const { seq, data, pending } = message;
        yield { seq, data, pending, traceparent: message.headers.traceparent };
      }
    },
    bounds: async () => {
      const info = await streamInfo(link, stream);
      return { first: info.firstSeq, last: info.lastSeq };
    },
    lastPosition: async (source) => {
      const filter = `millrace.events.${source}.*`;
      const message = await link.jsm.streams.getMessage(stream, { last_by_subj: filter });
      return message?.seq ?? 0;
    },
  };
}
