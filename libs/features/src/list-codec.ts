import type { ElementType, FeatureType, FieldType, List } from './types.ts';
import { isVectorType, vectorBytes, vectorOf } from './vectors.ts';

/**
 * A list in a row, little-endian: of texts u32 count, u32 end of each among the bytes, the bytes in UTF-8; of a vector 4 bytes a
 * value, a float32; of anything else 8 bytes a value, a float64 or int64.
 */
export function encodeList(list: List, element: ElementType): Buffer {
  if (element === 'FLOAT32') return Buffer.from(vectorBytes(list).buffer);
  if (element === 'STRING') return encodeTexts(list.map(String));
  const bytes = Buffer.alloc(8 * list.length);
  for (const [i, value] of list.entries()) {
    if (element === 'DOUBLE') bytes.writeDoubleLE(Number(value), 8 * i);
    else bytes.writeBigInt64LE(BigInt(value), 8 * i);
  }
  return bytes;
}

function encodeTexts(texts: readonly string[]): Buffer {
  const bytes = texts.map((text) => Buffer.from(text));
  const head = Buffer.alloc(4 * (1 + texts.length));
  head.writeUInt32LE(texts.length);
  let end = 0;
  for (const [i, { length }] of bytes.entries()) {
    end += length;
    head.writeUInt32LE(end, 4 * (i + 1));
  }
  return Buffer.concat([head, ...bytes]);
}

export function decodeList(bytes: Buffer, element: ElementType): List {
  if (element === 'FLOAT32') return vectorOf(bytes);
  if (element === 'STRING') return decodeTexts(bytes);
  return Array.from({ length: bytes.length / 8 }, (_, i) => {
    if (element === 'DOUBLE') return bytes.readDoubleLE(8 * i);
    const value = bytes.readBigInt64LE(8 * i);
    if (element === 'BOOL') return value === 1n;
    return Number.isSafeInteger(Number(value)) ? Number(value) : value;
  });
}

function decodeTexts(bytes: Buffer): readonly string[] {
  const count = bytes.length === 0 ? 0 : bytes.readUInt32LE();
  const start = 4 * (1 + count);
  let from = start;
  return Array.from({ length: count }, (_, i) => {
    const end = start + bytes.readUInt32LE(4 * (i + 1));
    const text = bytes.toString('utf8', from, end);
    from = end;
    return text;
  });
}

/** What a list or a vector holds; undefined of a type that is neither. */
export function elementOf(type: FeatureType): ElementType | undefined {
  if (isVectorType(type)) return 'FLOAT32';
  return isListType(type) ? (type.slice(0, -2) as FieldType) : undefined;
}

export function isListType(type: FeatureType): type is `${FieldType}[]` {
  return type.endsWith('[]');
}
