import { MeshError } from '@millrace/kernel';

/** The few protobuf primitives that the hot path reads by hand. Numbers stay numbers where they are exact. */
export type Reader = { readonly bytes: Buffer; at: number; readonly end: number };

export function varint(reader: Reader): number {
  const { bytes } = reader;
  let value = 0;
  let scale = 1;
  for (let i = 0; i < 10; i++) {
    if (reader.at >= reader.end) break;
    const byte = bytes[reader.at++] as number;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) {
      // a ten-byte varint is a negative int64
      return i === 9 ? -1 : value;
    }
    scale *= 128;
  }
  throw malformed('a varint is cut off or too long');
}

export function lengthEnd(reader: Reader): number {
  const length = varint(reader);
  const end = reader.at + length;
  if (end > reader.end) throw malformed(`a field of ${length} bytes is cut off`);
  return end;
}

/** Short ASCII is read here; a call into the engine costs more than the text. */
export function text(reader: Reader): string {
  const end = lengthEnd(reader);
  const { bytes, at } = reader;
  reader.at = end;
  if (end - at > 24) return bytes.toString('utf8', at, end);
  let value = '';
  for (let i = at; i < end; i++) {
    const byte = bytes[i] as number;
    if (byte >= 0x80) return bytes.toString('utf8', at, end);
    value += String.fromCharCode(byte);
  }
  return value;
}

export function fixed64s(reader: Reader): (number | bigint)[] {
  const end = lengthEnd(reader);
  if ((end - reader.at) % 8 !== 0) throw malformed('a packed 64-bit field is not a multiple of 8 bytes');
  const values: (number | bigint)[] = [];
  while (reader.at < end) values.push(fixed64(reader));
  return values;
}

export function fixed64(reader: Reader): number | bigint {
  const { at } = reader;
  if (at + 8 > reader.end) throw malformed('a 64-bit field is cut off');
  reader.at += 8;
  const high = reader.bytes.readInt32LE(at + 4);
  if (high >= -0x20_0000 && high < 0x20_0000) return high * 0x1_0000_0000 + reader.bytes.readUInt32LE(at);
  return reader.bytes.readBigInt64LE(at);
}

export function skip(reader: Reader, tag: number): void {
  switch (tag & 7) {
    case 0:
      varint(reader);
      return;
    case 1:
      reader.at += 8;
      break;
    case 2:
      reader.at = lengthEnd(reader);
      return;
    case 5:
      reader.at += 4;
      break;
    default:
      throw malformed(`tag ${tag} has an unknown wire type`);
  }
  if (reader.at > reader.end) throw malformed('a fixed-size field is cut off');
}

function malformed(detail: string): MeshError {
  return new MeshError(
    'MALFORMED_PAYLOAD',
    `the request is not the message that the contract says: ${detail}; encode it with protobuf`,
    {
      detail,
    },
  );
}
