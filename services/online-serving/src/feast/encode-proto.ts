import { type FieldType, isListType, isVectorType } from '@millrace/features';
import type { Matrix } from '../domain/matrix.ts';
import type { PlannedFeature } from '../domain/plan.ts';
import type { RequestKey } from '../domain/request.ts';
import { openField, writeVarint } from '../domain/wire.ts';
import type { FeastAnswer } from './feast-read.ts';
import { listsOf, protoList } from './list-values.ts';
import { eventTimeUs, FieldStatus, fieldStatuses, floorSeconds, valuedStatuses } from './values.ts';

/** Tags of the fields of FeatureVector and of the oneof of Value. */
const valueTag = 0x0a;
const statusesField = 2;
const timeTag = 0x1a;
const stringTag = 0x12;
const int64Tag = 0x20;
const doubleTag = 0x29;
const boolTag = 0x38;
const unixTimestampTag = 0x40;

/** Room for a column's tag and length before the length is known. */
const columnHead = 6;

/** A GetOnlineFeaturesResponse, written straight into one buffer: a FeatureVector for each join key and each feature. */
export function encodeProto({ head, keys, matrix }: FeastAnswer): Buffer {
  const { plan, rows } = matrix;
  const times = plan.views.map((_, view) => encodeTimes(matrix, view));
  const lists = plan.features.map((feature) => {
    const column = listsOf(matrix, feature);
    return column?.lists.map((list) => protoList(list, column.element));
  });
  const noTimes = Buffer.alloc(rows * 2, Buffer.of(timeTag, 0));
  let bound = head.proto.length;
  for (const key of keys) bound += columnHead * 2 + rows + noTimes.length + keyBound(key);
  for (const feature of plan.features)
    bound += columnHead * 2 + rows + (times[feature.view]?.length ?? 0) + valueBound(matrix, feature, lists);
  const bytes = Buffer.allocUnsafeSlow(bound);
  let at = head.proto.copy(bytes);
  for (const key of keys) at = writeKeyColumn(bytes, at, key, noTimes);
  for (const feature of plan.features)
    at = writeColumn(bytes, at, matrix, feature, lists, times[feature.view] ?? noTimes);
  return bytes.subarray(0, at);
}

function keyBound(key: RequestKey): number {
  if (key.kind !== 'STRING') return key.values.length * 13;
  let size = 0;
  for (const value of key.values) size += 12 + 3 * String(value).length;
  return size;
}

function valueBound({ strings, rows }: Matrix, { type, column, position }: PlannedFeature, lists: Lists): number {
  const ofLists = lists[position];
  if (ofLists) return ofLists.reduce((size, list) => size + Math.max(2, list.length), 0);
  if (type !== 'STRING') return rows * 13;
  let size = 0;
  for (const text of strings[column] ?? []) size += 12 + 3 * text.length;
  return size;
}

function writeKeyColumn(bytes: Buffer, start: number, key: RequestKey, times: Buffer): number {
  let at = start + columnHead;
  for (const value of key.values) {
    if (typeof value === 'string') at = writeText(bytes, at, value);
    else if (typeof value === 'boolean') at = writeBool(bytes, at, value);
    else {
      const exact = BigInt.asUintN(64, BigInt(value));
      at = writeInt64(bytes, at, int64Tag, Number(exact & 0xffff_ffffn), Number(exact >> 32n));
    }
  }
  at = openField(bytes, at, statusesField, key.values.length);
  bytes.fill(FieldStatus.PRESENT, at, at + key.values.length);
  return closeColumn(bytes, start, at + key.values.length, times);
}

function writeColumn(
  bytes: Buffer,
  start: number,
  matrix: Matrix,
  feature: PlannedFeature,
  lists: Lists,
  times: Buffer,
): number {
  const { rows } = matrix;
  const valued = valuedStatuses(feature);
  const width = matrix.plan.features.length;
  const column = lists[feature.position];
  let at = column
    ? writeLists(bytes, start + columnHead, matrix, feature, valued, column)
    : writeValues(bytes, start + columnHead, matrix, feature, valued);
  at = openField(bytes, at, statusesField, rows);
  for (let row = 0, from = matrix.statusesAt + feature.position; row < rows; row++, from += width)
    bytes[at++] = fieldStatuses[matrix.bytes[from] as number] as number;
  return closeColumn(bytes, start, at, times);
}

/** Appends the times, then moves the column to the end of its head. */
function closeColumn(bytes: Buffer, start: number, end: number, times: Buffer): number {
  bytes.set(times, end);
  const length = end + times.length - start - columnHead;
  const at = openField(bytes, start, 2, length);
  bytes.copyWithin(at, start + columnHead, start + columnHead + length);
  return at + length;
}

/** For each feature of lists or vectors its rows, each a `values` field. */
type Lists = readonly (readonly Buffer[] | undefined)[];

function writeLists(
  bytes: Buffer,
  start: number,
  { plan, ...matrix }: Matrix,
  { position }: PlannedFeature,
  valued: Uint8Array,
  lists: readonly Buffer[],
): number {
  let at = start;
  for (const [row, list] of lists.entries()) {
    const status = matrix.bytes[matrix.statusesAt + row * plan.features.length + position] as number;
    if (valued[status] === 0) {
      bytes[at++] = valueTag;
      bytes[at++] = 0;
    } else at += list.copy(bytes, at);
  }
  return at;
}

function writeValues(
  bytes: Buffer,
  start: number,
  matrix: Matrix,
  feature: PlannedFeature,
  valued: Uint8Array,
): number {
  const { rows, data, plan, strings } = matrix;
  const { type, column } = feature;
  const block = type === 'DOUBLE' ? matrix.doublesAt : matrix.int64sAt;
  const stride = (type === 'DOUBLE' ? plan.doubles : plan.int64s) * 8;
  const statusStride = plan.features.length;
  let at = start;
  let from = block + column * 8;
  let status = matrix.statusesAt + feature.position;
  for (let row = 0; row < rows; row++, from += stride, status += statusStride) {
    if (valued[matrix.bytes[status] as number] === 0) {
      bytes[at++] = valueTag;
      bytes[at++] = 0;
    } else if (!isListType(type) && !isVectorType(type))
      at = writeValue(bytes, at, type, data, from, strings[column]?.[row]);
  }
  return at;
}

function writeValue(bytes: Buffer, at: number, type: FieldType, data: DataView, from: number, text = ''): number {
  switch (type) {
    case 'INT64':
      return writeInt64(bytes, at, int64Tag, data.getUint32(from, true), data.getUint32(from + 4, true));
    case 'DOUBLE':
      bytes[at] = valueTag;
      bytes[at + 1] = 9;
      bytes[at + 2] = doubleTag;
      for (let i = 0; i < 8; i++) bytes[at + 3 + i] = data.getUint8(from + i);
      return at + 11;
    case 'BOOL':
      return writeBool(bytes, at, data.getUint8(from) !== 0);
    case 'TIMESTAMP': {
      const seconds = BigInt.asUintN(64, floorSeconds(data.getBigInt64(from, true)));
      return writeInt64(bytes, at, unixTimestampTag, Number(seconds & 0xffff_ffffn), Number(seconds >> 32n));
    }
    case 'STRING':
      return writeText(bytes, at, text);
    default:
      return type satisfies never;
  }
}

/** A Value with an integer, whose halves are unsigned. */
function writeInt64(bytes: Buffer, start: number, tag: number, lowHalf: number, highHalf: number): number {
  let low = lowHalf;
  let high = highHalf;
  let at = start + 3;
  while (high !== 0 || low > 127) {
    bytes[at++] = (low & 127) | 128;
    low = ((low >>> 7) | (high << 25)) >>> 0;
    high >>>= 7;
  }
  bytes[at++] = low;
  bytes[start] = valueTag;
  bytes[start + 1] = at - start - 2;
  bytes[start + 2] = tag;
  return at;
}

function writeBool(bytes: Buffer, at: number, value: boolean): number {
  bytes[at] = valueTag;
  bytes[at + 1] = 2;
  bytes[at + 2] = boolTag;
  bytes[at + 3] = value ? 1 : 0;
  return at + 4;
}

function writeText(bytes: Buffer, start: number, text: string): number {
  const length = Buffer.byteLength(text);
  let lengthBytes = 1;
  for (let rest = length; rest >= 128; rest = Math.floor(rest / 128)) lengthBytes++;
  let at = openField(bytes, start, 1, 1 + lengthBytes + length);
  bytes[at++] = stringTag;
  at = writeVarint(bytes, at, length);
  return at + bytes.write(text, at, 'utf8');
}

/** The event times of a view's rows as Timestamps; what is not known is the zero Timestamp. */
function encodeTimes(matrix: Matrix, view: number): Buffer {
  const bytes = Buffer.allocUnsafe(matrix.rows * 18);
  let at = 0;
  for (let row = 0; row < matrix.rows; row++) {
    const timeUs = eventTimeUs(matrix, view, row);
    const start = at;
    at += 2;
    const seconds = Math.floor(timeUs / 1e6);
    const nanos = (timeUs - seconds * 1e6) * 1000;
    if (seconds > 0) {
      bytes[at] = 0x08;
      at = writeVarint(bytes, at + 1, seconds);
    }
    if (nanos > 0) {
      bytes[at] = 0x10;
      at = writeVarint(bytes, at + 1, nanos);
    }
    bytes[start] = timeTag;
    bytes[start + 1] = at - start - 2;
  }
  return bytes.subarray(0, at);
}
