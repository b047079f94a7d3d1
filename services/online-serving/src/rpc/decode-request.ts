import { MeshError } from '@millrace/kernel';
import { fixed64, fixed64s, lengthEnd, type Reader, skip, text, varint } from '@millrace/rpc';
import type { ReadRequest, RequestKey } from '../domain/request.ts';
import type { RequestDataColumn } from '../domain/request-data.ts';
import { decodeRequestColumn } from './decode-request-column.ts';

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
    requestData: [] as RequestDataColumn[],
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
      case 0xa2:
        request.requestData.push(decodeRequestColumn(reader));
        break;
      default:
        skip(reader, tag);
    }
  }
  return request;
}

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
