import { serving } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { lengthEnd, type Reader, skip, text, varint } from '@millrace/rpc';
import type { FeaturesRead, ViewTimes } from '../domain/features-read.ts';

type Region = { readonly bytes: Buffer; readonly features: readonly serving.FeatureColumn[] };

/**
 * Reads GetFeaturesResponses by hand: blocks of numbers are copied, where the generated code makes a bigint of each integer; the columns, which are a third of a small answer, are
 * read again only when they change.
 */
export function createFeaturesDecoder(): (bytes: Buffer) => FeaturesRead {
  let known: Region = { bytes: Buffer.alloc(0), features: [] };
  return (bytes) => {
    const reader: Reader = { bytes, at: 0, end: bytes.length };
    const read = { doubles: none, int64s: none, statuses: noBytes, version: '' };
    const views: ViewTimes[] = [];
    let [from, to] = [-1, -1];
    while (reader.at < reader.end) {
      const start = reader.at;
      const tag = varint(reader);
      switch (tag) {
        case tags.doubles:
          read.doubles = doubles(reader);
          break;
        case tags.int64s:
          read.int64s = integers(reader);
          break;
        case tags.statuses:
          read.statuses = inner(reader);
          break;
        case tags.views:
          views.push(viewOf(inner(reader)));
          break;
        case tags.features:
          skip(reader, tag);
          if (from === -1) from = start;
          else if (start !== to) throw unread('its features are not in one piece');
          to = reader.at;
          break;
        case tags.version:
          read.version = text(reader);
          break;
        default:
          if ((tag & 7) === 1) throw unread('its numbers are not packed');
          skip(reader, tag);
      }
    }
    const region = from === -1 ? noBytes : bytes.subarray(from, to);
    if (!region.equals(known.bytes)) known = { bytes: Buffer.from(region), features: featuresOf(region) };
    return { ...read, views, features: known.features };
  };
}

const none: Float64Array = new Float64Array();
const noBytes: Buffer = Buffer.alloc(0);
const tags = { doubles: 0x0a, int64s: 0x12, statuses: 0x22, views: 0x2a, features: 0x32, version: 0x3a } as const;
const viewTags = { view: 0x0a, version: 0x12, eventTimes: 0x1a, positions: 0x22, knownTimes: 0x2a } as const;

/** The generated code, for a message that has nothing else. */
function featuresOf(region: Buffer): serving.FeatureColumn[] {
  return serving.GetFeaturesResponse.decode(region).features;
}

function viewOf(bytes: Buffer): ViewTimes {
  const reader: Reader = { bytes, at: 0, end: bytes.length };
  const view = { view: '', version: '', eventTimesUs: none, positions: none, knownTimesUs: none };
  while (reader.at < reader.end) {
    const tag = varint(reader);
    if (tag === viewTags.view) view.view = text(reader);
    else if (tag === viewTags.version) view.version = text(reader);
    else if (tag === viewTags.eventTimes) view.eventTimesUs = integers(reader);
    else if (tag === viewTags.positions) view.positions = integers(reader);
    else if (tag === viewTags.knownTimes) view.knownTimesUs = integers(reader);
    else skip(reader, tag);
  }
  return view;
}

function inner(reader: Reader): Buffer {
  const end = lengthEnd(reader);
  const bytes = reader.bytes.subarray(reader.at, end);
  reader.at = end;
  return bytes;
}

function doubles(reader: Reader): Float64Array {
  const bytes = block(reader);
  const values = new Float64Array(bytes.length / 8);
  new Uint8Array(values.buffer).set(bytes);
  return values;
}

/** Two halves are exact in a double, and their sum is rounded once. */
function integers(reader: Reader): Float64Array {
  const bytes = block(reader);
  const values = new Float64Array(bytes.length / 8);
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < values.length; at++)
    values[at] = data.getInt32(8 * at + 4, true) * 2 ** 32 + data.getUint32(8 * at, true);
  return values;
}

function block(reader: Reader): Buffer {
  const bytes = inner(reader);
  if (bytes.length % 8 !== 0) throw unread(`a block of numbers has ${bytes.length} bytes`);
  return bytes;
}

function unread(why: string): MeshError {
  return new MeshError('INTERNAL', `the answer of GetFeatures cannot be read: ${why}`);
}
