import type { ingestion } from '@millrace/contracts';
import { batchEventsMax, type RawEvent } from '../domain/raw-event.ts';

export function toRawEvents(events: readonly ingestion.Event[]): RawEvent[] {
  // Beyond the limit only the number counts: the batch is refused.
  if (events.length > batchEventsMax) return new Array<RawEvent>(events.length);
  return events.map(({ id, eventTimeUs, json }) => ({
    id,
    eventTimeUs: Number(eventTimeUs),
    payload: json,
    form: 'fields',
  }));
}
