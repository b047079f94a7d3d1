import type { Column } from '@millrace/features';
import { hash32 } from '@millrace/kernel';
import type { Rows } from './columns.ts';
import type { RowBuilder, SourceValidator } from './source-validator.ts';

/** What becomes one message of the EVENTS stream; the shape that libs/events encodes. */
export type PackedBatch = {
  readonly source: string;
  readonly sourceVersion: string;
  readonly knownTimeUs: number;
  readonly ids: readonly string[];
  readonly count: number;
  readonly eventTimeUs: Float64Array;
  readonly payloadHashes: BigUint64Array;
  readonly columns: ReadonlyMap<string, Column>;
};

export type PackedMessage = { readonly partition: number; readonly batch: PackedBatch };

/** Limits of one message: events, and bytes well below NATS's default max_payload of 1 MiB. */
const messageEventsMax = 1_000;
const messageBytesMax = 768 * 1024;

/** The kept rows, in order, as messages; rows of one partition stay in order. */
export function packRows(validator: SourceValidator, rows: RowBuilder, knownTimeUs: number): PackedMessage[] {
  const messages: PackedMessage[] = [];
  const { partitions } = validator;
  if (partitions === 1) {
    for (let from = 0; from < rows.count; ) {
      const to = endOfChunk(rows, from);
      messages.push({ partition: 0, batch: packed(validator, rows, { t: 'range', from, to }, knownTimeUs) });
      from = to;
    }
    return messages;
  }
  const open = Array.from({ length: partitions }, () => ({ list: [] as number[], bytes: 0 }));
  const close = (partition: number, list: number[]) =>
    messages.push({ partition, batch: packed(validator, rows, { t: 'list', list }, knownTimeUs) });
  for (let row = 0; row < rows.count; row++) {
    const partition = hash32(rows.partitionKey(row)) % partitions;
    const chunk = open[partition] as { list: number[]; bytes: number };
    const bytes = rows.size(row);
    if (chunk.list.length > 0 && (chunk.list.length === messageEventsMax || chunk.bytes + bytes > messageBytesMax)) {
      close(partition, chunk.list);
      chunk.list = [];
      chunk.bytes = 0;
    }
    chunk.list.push(row);
    chunk.bytes += bytes;
  }
  for (const [partition, { list }] of open.entries()) if (list.length > 0) close(partition, list);
  return messages;
}

function endOfChunk(rows: RowBuilder, from: number): number {
  let bytes = rows.size(from);
  let to = from + 1;
  while (to < rows.count && to - from < messageEventsMax) {
    bytes += rows.size(to);
    if (bytes > messageBytesMax) break;
    to++;
  }
  return to;
}

function packed(validator: SourceValidator, rows: RowBuilder, take: Rows, knownTimeUs: number): PackedBatch {
  const all = take.t === 'range';
  const ids = all ? rows.ids.slice(take.from, take.to) : take.list.map((row) => rows.ids[row] as string);
  return {
    source: validator.source,
    sourceVersion: validator.version,
    knownTimeUs,
    ids,
    count: ids.length,
    eventTimeUs: all
      ? rows.eventTimeUs.subarray(take.from, take.to)
      : Float64Array.from(take.list, (row) => rows.eventTimeUs[row] as number),
    payloadHashes: all
      ? rows.hashes.subarray(take.from, take.to)
      : BigUint64Array.from(take.list, (row) => rows.hashes[row] as bigint),
    columns: rows.columns(take),
  };
}
