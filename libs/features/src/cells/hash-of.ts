import type { FieldType } from '../types.ts';
import { sipHash53 } from './sip-hash.ts';

const words = new Int32Array(2);
const double = new Float64Array(words.buffer);
const bytes = new Uint8Array(words.buffer);
const encoder = new TextEncoder();
let utf8 = new Uint8Array(1024);

/** 53 bits of a value's hash: of a text's UTF-8, of an integer's or a float's 8 bytes; −0 is 0. `hashSql` is the same. */
export function hashOf(type: FieldType, a: number, b: number, text: string): number {
  if (type === 'STRING') return hashOfText(text);
  if (type === 'DOUBLE') double[0] = a === 0 ? 0 : a;
  else {
    words[0] = b;
    words[1] = a;
  }
  return sipHash53(bytes, 8);
}

function hashOfText(text: string): number {
  if (3 * text.length > utf8.length) utf8 = new Uint8Array(6 * text.length);
  return sipHash53(utf8, encoder.encodeInto(text, utf8).written);
}

/** `value` is not null. */
export function hashSql(type: FieldType, value: string): string {
  return `bitShiftRight(sipHash64(${hashed(type, value)}), 11)`;
}

function hashed(type: FieldType, value: string): string {
  if (type === 'STRING') return value;
  if (type === 'DOUBLE') return `if(${value} = 0, toFloat64(0), ${value})`;
  return type === 'TIMESTAMP' ? `toUnixTimestamp64Micro(${value})` : `toInt64(${value})`;
}
