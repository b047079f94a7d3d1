import { damaged } from './problems.ts';

/** Just enough of protobuf's wire format to edit an ONNX file without decoding it: fields are kept as the bytes that they are. */
export interface WireField {
  readonly number: number;
  readonly type: number;
  /** The field with its tag, untouched. */
  readonly raw: Uint8Array;
  /** The content of a length-delimited, 32-bit or 64-bit field. */
  readonly content: Uint8Array;
  /** The value of a varint field, as an int64; beyond 2^53 an approximation. */
  readonly value: number;
}

/** A message of a real model has far fewer: a graph has one field for a node and one for a weight. */
const fieldsMax = 1_000_000;
const none = new Uint8Array(0);

/** The fields of a message, views of its bytes. MODEL_LOAD_FAILED when the bytes are none. */
export function fieldsOf(bytes: Uint8Array): WireField[] {
  const fields: WireField[] = [];
  let at = 0;
  const varint = (): number => {
    const end = varintEnd(bytes, at);
    const value = varintIn(bytes, at, end);
    at = end;
    return value;
  };
  while (at < bytes.length) {
    if (fields.length === fieldsMax) throw damaged(`a message in it has more than ${fieldsMax} fields`);
    const start = at;
    const tag = varint();
    const type = tag & 7;
    const number = Math.floor(tag / 8);
    if (number < 1 || number > 0x1fffffff) throw damaged(`it has a field of number ${number}`);
    let from = at;
    let value = 0;
    if (type === 0) value = varint();
    else if (type === 1) at += 8;
    else if (type === 5) at += 4;
    else if (type === 2) {
      const length = varint();
      from = at;
      at += length;
    } else throw damaged(`wire type ${type} is none of ONNX's`);
    if (at > bytes.length || at < from) throw damaged('a field runs past its end');
    const content = type === 0 ? none : bytes.subarray(from, at);
    fields.push({ number, type, raw: bytes.subarray(start, at), content, value });
  }
  return fields;
}

/** Every varint of a packed field. */
export function packedVarints(content: Uint8Array): number[] {
  const values: number[] = [];
  for (let at = 0; at < content.length; ) {
    const end = varintEnd(content, at);
    values.push(varintIn(content, at, end));
    at = end;
  }
  return values;
}

function varintEnd(bytes: Uint8Array, from: number): number {
  for (let at = from; at < from + 10; at++) {
    const byte = bytes[at];
    if (byte === undefined) throw damaged('it ends within a field');
    if (byte < 0x80) return at + 1;
  }
  throw damaged('a number in it is longer than ten bytes');
}

/** Long ones are an int64's negative numbers. */
function varintIn(bytes: Uint8Array, from: number, end: number): number {
  if (end - from > 7) {
    let value = 0n;
    for (let at = end - 1; at >= from; at--) value = (value << 7n) | BigInt((bytes[at] ?? 0) & 0x7f);
    return Number(BigInt.asIntN(64, value));
  }
  let value = 0;
  for (let at = end - 1; at >= from; at--) value = value * 128 + ((bytes[at] ?? 0) & 0x7f);
  return value;
}

export function delimited(number: number, content: Uint8Array): Buffer {
  return Buffer.concat([varintBytes(number * 8 + 2), varintBytes(content.length), content]);
}

export function textField(number: number, text: string): Buffer {
  return delimited(number, Buffer.from(text));
}

export function varintField(number: number, value: number | bigint): Buffer {
  return Buffer.concat([varintBytes(number * 8), varintBytes(value)]);
}

/** Negative numbers take ten bytes, as protobuf's int32 and int64 do. */
export function varintBytes(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

export function textOf(fields: readonly WireField[], number: number): string {
  // protobuf: of a field that is there twice the last one counts
  const field = fields.findLast((candidate) => candidate.number === number);
  return field ? decoder.decode(field.content) : '';
}

export function textsOf(fields: readonly WireField[], number: number): string[] {
  return fields.filter((field) => field.number === number).map(({ content }) => decoder.decode(content));
}

export function numberOf(fields: readonly WireField[], number: number): number {
  return fields.findLast((candidate) => candidate.number === number)?.value ?? 0;
}

const decoder = new TextDecoder();
