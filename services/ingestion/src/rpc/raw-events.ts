import type { ingestion } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { batchEventsMax, type RawEvent } from '../domain/raw-event.ts';

export function toRawEvents(events: readonly ingestion.Event[]): RawEvent[] {
  // Beyond the limit only the number counts: the batch is refused.
  if (events.length > batchEventsMax) return new Array<RawEvent>(events.length);
  return events.map((event, index) => {
    const { id, json, avro, protobuf, writerVersion } = event;
    const eventTimeUs = Number(event.eventTimeUs);
    if (avro === undefined && protobuf === undefined) return { id, eventTimeUs, payload: json, form: 'fields' };
    if (json.length > 0 || (avro !== undefined && protobuf !== undefined))
      throw new MeshError(
        'INVALID_ARGUMENT',
        `event ${index} (id "${id}") has several payloads; give it one of json, avro and protobuf`,
        { index, id },
      );
    if (avro === undefined) return { id, eventTimeUs, payload: protobuf ?? json, form: 'protobuf' };
    return { id, eventTimeUs, payload: avro, form: 'avro', writer: writerVersion ?? '' };
  });
}
