import { ingestion } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { batchEventsMax, type RawEvent } from '../domain/raw-event.ts';

export function toRawEvents(events: readonly ingestion.Event[]): RawEvent[] {
  // Beyond the limit only the number counts: the batch is refused.
  if (events.length > batchEventsMax) return new Array<RawEvent>(events.length);
  return events.map((event, index) => {
    const { json, avro, protobuf, writerVersion } = event;
    const head = headOf(event);
    if (avro === undefined && protobuf === undefined) return { ...head, payload: json, form: 'fields' };
    if (json.length > 0 || (avro !== undefined && protobuf !== undefined))
      throw new MeshError(
        'INVALID_ARGUMENT',
        `event ${index} (id "${head.id}") has several payloads; give it one of json, avro and protobuf`,
        { index, id: head.id },
      );
    if (avro === undefined) return { ...head, payload: protobuf ?? json, form: 'protobuf' };
    return { ...head, payload: avro, form: 'avro', writer: writerVersion ?? '' };
  });
}

function headOf({ id, eventTimeUs, operation, sequence }: ingestion.Event) {
  return {
    id,
    eventTimeUs: Number(eventTimeUs),
    ...(operation === ingestion.Operation.DELETE ? { operation: 'delete' } : {}),
    ...(sequence ? { sequence } : {}),
  };
}
