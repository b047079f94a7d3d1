import { MeshError } from '@millrace/kernel';
import type { ReadRequest, RequestKey } from '../domain/request.ts';

/**
 * Reads a millrace.serving.v1.GetFeaturesRequest straight into domain words: numbers stay numbers where they are exact and
 * nothing is built twice. Unknown fields are skipped.
 */
export function decodeReadRequest(bytes: Buffer): ReadRequest {
  const reader = { bytes, at: 0, end: bytes.length };
  const request = {
    featureService: '',
    version: '',
    keys: [] as RequestKey[],
    asOfUs: 0,
    asOfUsByRow: none,
    allowPartial: false,
    allowHistory: false,
    omitMetadata: false,
  };
  while (reader.at < reader.end) {
    const tag = varint(reader);
    switch (tag) {
      case 0x0a:
        request.featureService = text(reader);
        break;
      case 0x12:
        request.version = text(reader);
        break;
      case 0x1a:
        request.keys.push(keyColumn(reader));
        break;
      case 0x20:
        request.asOfUs = varint(reader);
        break;
      case 0x2a:
        request.asOfUsByRow = Float64Array.from([...request.asOfUsByRow, ...fixed64s(reader).map(Number)]);
        break;
      case 0x29:
        request.asOfUsByRow = Float64Array.from([...request.asOfUsByRow, Number(fixed64(reader))]);
        break;
      case 0x30:
        request.allowPartial = varint(reader) !== 0;
        break;
      case 0x38:
        request.allowHistory = varint(reader) !== 0;
        break;
      case 0x40:
        request.omitMetadata = varint(reader) !== 0;
        break;
      default:
        skip(reader, tag);
    }
  }
  return request;
}

type Reader = { readonly bytes: Buffer; at: number; readonly end: number };

const none = new Float64Array(0);

function keyColumn(outer: Reader): RequestKey {
  const end = lengthEnd(outer);
  const reader: Reader = { bytes: outer.bytes, at: outer.at, end };
  outer.at = end;
  let name = '';
  let nullRow = -1;
  const strings: string[] = [];
  let int64s: (number | bigint)[] = [];
  const bools: boolean[] = [];
  while (reader.at < end) {
    const tag = varint(reader);
    switch (tag) {
      case 0x0a:
        name = text(reader);
        break;
      case 0x12:
        strings.push(text(reader));
        break;
      case 0x1a:
        int64s = int64s.concat(fixed64s(reader));
        break;
      case 0x19:
        int64s.push(fixed64(reader));
        break;
      case 0x22: {
        const stop = lengthEnd(reader);
        while (reader.at < stop) bools.push(varint(reader) !== 0);
        break;
      }
      case 0x20:
        bools.push(varint(reader) !== 0);
        break;
      case 0x2a: {
        const stop = lengthEnd(reader);
        for (let at = reader.at; at < stop; at++) {
          if (reader.bytes[at] === 0) continue;
          nullRow = at - reader.at;
          break;
        }
        reader.at = stop;
        break;
      }
      default:
        skip(reader, tag);
    }
  }
  return columnOf(name, strings, int64s, bools, nullRow);
}

function columnOf(
  name: string,
  strings: string[],
  int64s: (number | bigint)[],
  bools: boolean[],
  nullRow: number,
): RequestKey {
  const filled = Number(strings.length > 0) + Number(int64s.length > 0) + Number(bools.length > 0);
  if (filled > 1) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `join key "${name}" has values of several types; fill exactly one of strings, int64s and bools`,
      { joinKey: name },
    );
  }
  if (strings.length > 0) return { name, kind: 'STRING', values: strings, nullRow };
  if (int64s.length > 0) return { name, kind: 'INT64', values: int64s, nullRow };
  if (bools.length > 0) return { name, kind: 'BOOL', values: bools, nullRow };
  return { name, kind: 'EMPTY', values: [], nullRow };
}

function varint(reader: Reader): number {
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

function lengthEnd(reader: Reader): number {
  const length = varint(reader);
  const end = reader.at + length;
  if (end > reader.end) throw malformed(`a field of ${length} bytes is cut off`);
  return end;
}

/** Short ASCII is read here; a call into the engine costs more than the text. */
function text(reader: Reader): string {
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

function fixed64s(reader: Reader): (number | bigint)[] {
  const end = lengthEnd(reader);
  if ((end - reader.at) % 8 !== 0) throw malformed('a packed 64-bit field is not a multiple of 8 bytes');
  const values: (number | bigint)[] = [];
  while (reader.at < end) values.push(fixed64(reader));
  return values;
}

function fixed64(reader: Reader): number | bigint {
  const { at } = reader;
  if (at + 8 > reader.end) throw malformed('a 64-bit field is cut off');
  reader.at += 8;
  const high = reader.bytes.readInt32LE(at + 4);
  if (high >= -0x20_0000 && high < 0x20_0000) return high * 0x1_0000_0000 + reader.bytes.readUInt32LE(at);
  return reader.bytes.readBigInt64LE(at);
}

function skip(reader: Reader, tag: number): void {
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
    `the request is not a GetFeaturesRequest: ${detail}; encode it with protobuf`,
    {
      detail,
    },
  );
}
