/** The few protobuf primitives that the hot path writes by hand. */

const TWO_32 = 0x1_0000_0000;

/** Bytes of a varint; the value is a non-negative safe integer. */
export function varintSize(value: number): number {
  let size = 1;
  let rest = value;
  while (rest >= 128) {
    rest = Math.floor(rest / 128);
    size++;
  }
  return size;
}

/** Writes a varint and returns the offset after it; the value is a non-negative safe integer. */
export function writeVarint(bytes: Buffer, at: number, value: number): number {
  let offset = at;
  let rest = value;
  while (rest >= TWO_32) {
    bytes[offset++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  while (rest >= 128) {
    bytes[offset++] = (rest & 0x7f) | 0x80;
    rest = Math.floor(rest / 128);
  }
  bytes[offset++] = rest;
  return offset;
}

/** Writes the tag and length of a length-delimited field and returns where its content starts. */
export function openField(bytes: Buffer, at: number, field: number, length: number): number {
  bytes[at] = (field << 3) | 2;
  return writeVarint(bytes, at + 1, length);
}

/** Bytes of a length-delimited field with its tag; fields up to 15. */
export function fieldSize(length: number): number {
  return 1 + varintSize(length) + length;
}

/** A length-delimited field of its own. */
export function encodeField(field: number, content: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(fieldSize(content.length));
  content.copy(bytes, openField(bytes, 0, field, content.length));
  return bytes;
}
