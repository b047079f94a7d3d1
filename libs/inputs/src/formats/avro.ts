import { type FileHandle, open } from 'node:fs/promises';
import { crc32, inflateRawSync, zstdDecompressSync } from 'node:zlib';
import { MeshError } from '@millrace/kernel';
import { type AvroHeader, avroRows, avroSyncBytes, readAvroBlockHead, readAvroHeader } from '@millrace/payloads';
import { compressors } from 'hyparquet-compressors';
import { chunkRowsMax, type InputRow, Instant, type RowChunk, type RowReader } from '../rows.ts';

/** A schema of the largest size that is read, and what else writers note. */
const headerBytesMax = 1024 ** 2;
/** One block is in memory at a time; packed or not. */
const blockBytesMax = 64 * 1024 ** 2;
const blockHeadBytesMax = 20;

type Unpack = (packed: Uint8Array) => Uint8Array;
const codecs: Readonly<Record<string, Unpack>> = {
  null: (packed) => packed,
  deflate: (packed) => inflateRawSync(packed, { maxOutputLength: blockBytesMax }),
  snappy: unpackSnappy,
  zstandard: (packed) => zstdDecompressSync(packed, { maxOutputLength: blockBytesMax }),
};

/** Object container files. Own code, as avsc's decoder holds blocks of any size and takes a cut file for a whole one. */
export async function openAvro(path: string): Promise<RowReader> {
  const header = await withFile(path, async (file) => headerOf(path, await bytesAt(file, 0, headerBytesMax)));
  const unpack = Object.hasOwn(codecs, header.codec) ? codecs[header.codec] : undefined;
  if (unpack === undefined)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `"${path}" is compressed with Avro's codec "${header.codec}"; write it with one of ${Object.keys(codecs).join(', ')}`,
      { path, codec: header.codec },
    );
  return {
    columns: header.rows.columns,
    async *chunks(): AsyncIterable<RowChunk> {
      const file = await open(path);
      try {
        yield* blocks(file, path, header, unpack);
      } finally {
        await file.close();
      }
    },
  };
}

type Header = AvroHeader & { readonly rows: ReturnType<typeof avroRows> };
type Place = { readonly path: string; readonly block: number; readonly offset: number };

function headerOf(path: string, start: Uint8Array): Header {
  try {
    const header = readAvroHeader(start);
    return { ...header, rows: avroRows(header.schemaJson, (us) => new Instant(us)) };
  } catch (cause) {
    const { message } = cause as Error;
    throw new MeshError('MALFORMED_PAYLOAD', `"${path}" is not an Avro file: ${message}`, { path }, { cause });
  }
}

async function* blocks(file: FileHandle, path: string, header: Header, unpack: Unpack): AsyncIterable<RowChunk> {
  const { size } = await file.stat();
  let number = 0;
  for (let offset = header.bytes, block = 1; offset < size; block++) {
    const place = { path, block, offset };
    const read = await readBlock(file, size, header, place);
    const end = offset + read.bytes;
    let chunk: InputRow[] = [];
    const rows = rowsOf(place, () => header.rows.decode(unpackBlock(place, read.data, unpack), read.rows));
    for (const fields of rows) {
      chunk.push({ t: 'row', number: ++number, fields });
      if (chunk.length < chunkRowsMax) continue;
      yield { rows: chunk, bytesRead: end };
      chunk = [];
    }
    if (chunk.length > 0) yield { rows: chunk, bytesRead: end };
    offset = end;
  }
}

/** The rows of a block; what is not of the schema is told with the block's place. */
function* rowsOf<T>(place: Place, decode: () => Iterable<T>): Iterable<T> {
  try {
    yield* decode();
  } catch (cause) {
    throw cause instanceof MeshError ? cause : corrupt(place, (cause as Error).message, cause);
  }
}

async function readBlock(file: FileHandle, size: number, { sync }: Header, place: Place) {
  const head = readAvroBlockHead(await bytesAt(file, place.offset, blockHeadBytesMax));
  if (head === undefined) throw corrupt(place, 'it does not begin with a number of rows and of bytes');
  const { rows, bytes, headBytes } = head;
  if (bytes > blockBytesMax) throw tooLarge(place, `${bytes} bytes`, blockBytesMax);
  const whole = headBytes + bytes + avroSyncBytes;
  if (place.offset + whole > size)
    throw corrupt(place, `it has ${whole} bytes where ${size - place.offset} are left; the file is cut`);
  const read = await bytesAt(file, place.offset + headBytes, bytes + avroSyncBytes);
  if (read.length < bytes + avroSyncBytes) throw corrupt(place, 'the file became shorter while it was read');
  if (!read.subarray(bytes).equals(sync)) throw corrupt(place, "it does not end with the file's sync marker");
  return { rows, data: read.subarray(0, bytes), bytes: whole };
}

function unpackBlock(place: Place, packed: Uint8Array, unpack: Unpack): Uint8Array {
  try {
    return unpack(packed);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE' || cause instanceof TooLarge)
      throw tooLarge(place, 'more bytes unpacked', blockBytesMax);
    throw corrupt(place, `it cannot be unpacked (${(cause as Error).message})`, cause);
  }
}

class TooLarge extends Error {}

/** Snappy's own length in front, and after it a checksum of what was packed. */
function unpackSnappy(packed: Uint8Array): Uint8Array {
  let length = 0;
  for (let at = 0, more = true; more; at++) {
    const byte = packed[at];
    if (byte === undefined || at > 4) throw new Error('it has no length');
    length += (byte & 0x7f) * 2 ** (7 * at);
    more = byte >= 0x80;
  }
  if (length > blockBytesMax) throw new TooLarge();
  if (packed.length < 5) throw new Error('it has no checksum');
  const body = packed.subarray(0, packed.length - 4);
  const unpacked = length === 0 ? new Uint8Array() : compressors.SNAPPY?.(body, length);
  if (unpacked === undefined || crc32(unpacked) !== Buffer.from(packed.subarray(-4)).readUInt32BE(0))
    throw new Error('its checksum is another one');
  return unpacked;
}

async function withFile<T>(path: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(path);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

/** Fewer bytes where the file ends before. */
async function bytesAt(file: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await file.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

function corrupt({ path, block, offset }: Place, what: string, cause?: unknown): MeshError {
  return new MeshError(
    'MALFORMED_PAYLOAD',
    `block ${block} of "${path}", at byte ${offset}, is corrupt: ${what}`,
    { path, block, offset },
    { cause },
  );
}

function tooLarge({ path, block, offset }: Place, what: string, limit: number): MeshError {
  return new MeshError(
    'LIMIT_EXCEEDED',
    `block ${block} of "${path}", at byte ${offset}, has ${what}, more than the limit of ${limit}; write the file with smaller blocks`,
    { path, block, offset, limit },
  );
}
