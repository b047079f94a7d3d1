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
  readonly changes?: PackedChanges;
};

/** As libs/events encodes them. */
type PackedChanges = { readonly operations: Uint8Array; readonly sequences: BigUint64Array | null };

export type PackedMessage = { readonly partition: number; readonly batch: PackedBatch };

/** Limits of one message: events, and bytes well below NATS's default max_payload of 1 MiB. */
const messageEventsMax = 1_000;
const messageBytesMax = 768 * 1024;

/**
 * The kept rows as messages; rows of one partition stay in order. All messages of a wave may be on their way at once: a new one begins where an id
 * comes again, as changes of one event must not overtake each other.
 */
export function packRows(validator: SourceValidator, rows: RowBuilder, knownTimeUs: number): PackedMessage[][] {
  if (rows.count === 0) return [];
  if (!validator.isCorrectable) return [packWave(validator, rows, { from: 0, to: rows.count }, knownTimeUs)];
  const waves: PackedMessage[][] = [];
  let seen = new Set<string>();
  let from = 0;
  for (let row = 0; row <= rows.count; row++) {
    const id = rows.ids[row];
    if (id !== undefined && !seen.has(id)) {
      seen.add(id);
      continue;
    }
    waves.push(packWave(validator, rows, { from, to: row }, knownTimeUs));
    from = row;
    seen = new Set(id === undefined ? [] : [id]);
  }
  return waves;
}

function packWave(
  validator: SourceValidator,
  rows: RowBuilder,
  wave: { readonly from: number; readonly to: number },
  knownTimeUs: number,
): PackedMessage[] {
  const messages: PackedMessage[] = [];
  const { partitions } = validator;
  if (partitions === 1) {
    for (let { from } = wave; from < wave.to; ) {
      const to = endOfChunk(rows, from, wave.to);
      messages.push({ partition: 0, batch: packed(validator, rows, { t: 'range', from, to }, knownTimeUs) });
      from = to;
    }
    return messages;
  }
  const open = Array.from({ length: partitions }, () => ({ list: [] as number[], bytes: 0 }));
  const close = (partition: number, list: number[]) =>
    messages.push({ partition, batch: packed(validator, rows, { t: 'list', list }, knownTimeUs) });
  for (let row = wave.from; row < wave.to; row++) {
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

function endOfChunk(rows: RowBuilder, from: number, end: number): number {
  let bytes = rows.size(from);
  let to = from + 1;
  while (to < end && to - from < messageEventsMax) {
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
    ...changesOf(rows, take),
  };
}

/** Nothing where every event is new and none has a number. */
function changesOf({ changes }: RowBuilder, take: Rows): { readonly changes?: PackedChanges } {
  if (changes === undefined) return {};
  const all = take.t === 'range';
  const operations = all
    ? changes.operations.subarray(take.from, take.to)
    : Uint8Array.from(take.list, (row) => changes.operations[row] as number);
  const sequences = all
    ? changes.sequences.subarray(take.from, take.to)
    : BigUint64Array.from(take.list, (row) => changes.sequences[row] as bigint);
  const isNumbered = sequences.some((sequence) => sequence !== 0n);
  if (!isNumbered && !operations.some((operation) => operation !== 0)) return {};
  return { changes: { operations, sequences: isNumbered ? sequences : null } };
}
