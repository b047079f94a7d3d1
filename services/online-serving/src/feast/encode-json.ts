import { isListType, isVectorType } from '@millrace/features';
import type { Matrix } from '../domain/matrix.ts';
import { Block, type PlannedFeature } from '../domain/plan.ts';
import type { RequestKey } from '../domain/request.ts';
import type { FeastAnswer } from './feast-read.ts';
import { doubleText, writeAscii, writeInteger, writeTime } from './json-text.ts';
import { jsonList, listsOf } from './list-values.ts';
import { eventTimeUs, FieldStatus, fieldStatuses, floorSeconds, valuedStatuses } from './values.ts';

const start = Buffer.from('{"results":[');
const openValues = Buffer.from('{"values":[');
const openStatuses = Buffer.from('],"statuses":[');
const openTimes = Buffer.from('],"event_timestamps":[');
const close = Buffer.from(']}');
const frame = openValues.length + openStatuses.length + openTimes.length + close.length + 1;
const nothing = Buffer.from('null,');
const yes = Buffer.from('true,');
const no = Buffer.from('false,');
const zeroTime = '"1970-01-01T00:00:00Z",';
/** By FieldStatus, each with its comma. */
const statusTexts = Object.keys(FieldStatus).map((name) => Buffer.from(`"${name}",`));
const statusBytesMax = Math.max(...statusTexts.map(({ length }) => length));
const presentText = statusTexts[FieldStatus.PRESENT] as Buffer;
/** Bytes of `"2026-01-02T03:04:05.678111",` and of the longest number with its comma. */
const timeBytesMax = 31;
const numberBytesMax = 28;
const comma = 0x2c;

/**
 * The body of an answer to POST /get-online-features, written straight into one buffer. Every element of a list is written with the comma
 * that follows it, and the last comma is taken back.
 */
export function encodeJson({ head, keys, matrix }: FeastAnswer): Buffer {
  const { plan, rows } = matrix;
  const times = plan.views.map((_, view) => encodeTimes(matrix, view));
  const allPresent = Buffer.alloc(rows * presentText.length, presentText);
  const noTimes = Buffer.alloc(rows * zeroTime.length, zeroTime);
  const keyValues = keys.map(encodeKeys);
  const texts = matrix.strings.map((column) => column.map((text) => Buffer.from(`${JSON.stringify(text)},`)));
  const written = plan.features.map((feature) => {
    if (feature.block === Block.STRINGS) return texts[feature.column];
    const column = listsOf(matrix, feature);
    return column?.lists.map((list) => jsonList(list, column.element));
  });
  const textsOf = ({ position }: PlannedFeature) => written[position];
  let bound = start.length + head.json.length;
  for (const values of keyValues) bound += frame + values.length + allPresent.length + noTimes.length;
  for (const feature of plan.features) {
    bound += frame + rows * statusBytesMax + (times[feature.view]?.length ?? 0);
    const own = textsOf(feature);
    if (own) for (const text of own) bound += Math.max(nothing.length, text.length);
    else bound += rows * numberBytesMax;
  }
  const bytes = Buffer.allocUnsafeSlow(bound);
  let at = copy(bytes, 0, start);
  for (const values of keyValues) {
    at = copy(bytes, copy(bytes, at, openValues), values) - 1;
    at = copy(bytes, copy(bytes, at, openStatuses), allPresent) - 1;
    at = endColumn(bytes, copy(bytes, copy(bytes, at, openTimes), noTimes));
  }
  for (const feature of plan.features) {
    at = writeValues(bytes, copy(bytes, at, openValues), matrix, feature, textsOf(feature)) - 1;
    at = writeStatuses(bytes, copy(bytes, at, openStatuses), matrix, feature, allPresent) - 1;
    at = endColumn(bytes, copy(bytes, copy(bytes, at, openTimes), times[feature.view] ?? noTimes));
  }
  // the last column's comma gives way to the end of the list
  at = copy(bytes, at - 1, head.json);
  return bytes.subarray(0, at);
}

function endColumn(bytes: Buffer, at: number): number {
  const end = copy(bytes, at - 1, close);
  bytes[end] = comma;
  return end + 1;
}

function copy(bytes: Buffer, at: number, from: Buffer): number {
  bytes.set(from, at);
  return at + from.length;
}

/** Short texts: a loop costs less than a call into the engine. */
function copyShort(bytes: Buffer, start: number, from: Buffer): number {
  let at = start;
  for (let i = 0; i < from.length; i++) bytes[at++] = from[i] as number;
  return at;
}

function encodeKeys({ values }: RequestKey): Buffer {
  let text = '';
  for (const value of values) text += typeof value === 'string' ? `${JSON.stringify(value)},` : `${value},`;
  return Buffer.from(text);
}

function writeStatuses(
  bytes: Buffer,
  start: number,
  matrix: Matrix,
  feature: PlannedFeature,
  allPresent: Buffer,
): number {
  const width = matrix.plan.features.length;
  const first = matrix.statusesAt + feature.position;
  const end = first + matrix.rows * width;
  let from = first;
  while (from < end && fieldStatuses[matrix.bytes[from] as number] === FieldStatus.PRESENT) from += width;
  if (from === end) return copy(bytes, start, allPresent);
  let at = start;
  for (from = first; from < end; from += width)
    at = copyShort(bytes, at, statusTexts[fieldStatuses[matrix.bytes[from] as number] as number] as Buffer);
  return at;
}

function writeValues(
  bytes: Buffer,
  start: number,
  matrix: Matrix,
  feature: PlannedFeature,
  texts: readonly Buffer[] | undefined,
): number {
  const { rows, data, plan } = matrix;
  const { type, column } = feature;
  const valued = valuedStatuses(feature);
  const stride = (type === 'DOUBLE' ? plan.doubles : plan.int64s) * 8;
  let at = start;
  let from = (type === 'DOUBLE' ? matrix.doublesAt : matrix.int64sAt) + column * 8;
  let status = matrix.statusesAt + feature.position;
  for (let row = 0; row < rows; row++, from += stride, status += plan.features.length) {
    if (valued[matrix.bytes[status] as number] === 0) {
      at = copyShort(bytes, at, nothing);
      continue;
    }
    if (isListType(type) || isVectorType(type)) {
      at = copy(bytes, at, texts?.[row] ?? nothing);
      continue;
    }
    switch (type) {
      case 'INT64':
        at = writeInteger(bytes, at, data, from);
        bytes[at++] = comma;
        break;
      case 'DOUBLE':
        at = writeAscii(bytes, at, doubleText(data.getFloat64(from, true)));
        bytes[at++] = comma;
        break;
      case 'BOOL':
        at = copyShort(bytes, at, data.getUint8(from) === 0 ? no : yes);
        break;
      case 'TIMESTAMP':
        at = writeAscii(bytes, at, String(floorSeconds(data.getBigInt64(from, true))));
        bytes[at++] = comma;
        break;
      case 'STRING':
        at = copy(bytes, at, texts?.[row] ?? nothing);
        break;
      default:
        throw new TypeError(type satisfies never);
    }
  }
  return at;
}

function encodeTimes(matrix: Matrix, view: number): Buffer {
  const bytes = Buffer.allocUnsafe(matrix.rows * timeBytesMax);
  let at = 0;
  for (let row = 0; row < matrix.rows; row++) at = writeTime(bytes, at, eventTimeUs(matrix, view, row));
  return bytes.subarray(0, at);
}
