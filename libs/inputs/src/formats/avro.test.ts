import { createWriteStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, deflateRawSync, zstdCompressSync } from 'node:zlib';
import { definitions } from '@millrace/contracts';
import avsc from 'avsc';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { inferSchema } from '../infer.ts';
import { openRows } from '../open-rows.ts';
import { type InputRow, Instant } from '../rows.ts';

let folder: string;
let files = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-avro-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const place = { type: 'record', name: 'Place', fields: [{ name: 'lat', type: 'double' }] } as const;
const schema = {
  type: 'record',
  name: 'Order',
  fields: [
    { name: 'orderId', type: 'string' },
    { name: 'amount', type: ['null', 'double'], default: null },
    { name: 'count', type: 'long' },
    { name: 'at', type: { type: 'long', logicalType: 'timestamp-millis' } },
    { name: 'day', type: { type: 'int', logicalType: 'date' } },
    { name: 'state', type: { type: 'enum', name: 'State', symbols: ['OPEN', 'PAID'] } },
    { name: 'buyer', type: { type: 'record', name: 'Buyer', fields: [{ name: 'firstName', type: 'string' }] } },
    { name: 'place', type: ['null', place], default: null },
    { name: 'tags', type: { type: 'array', items: 'string' } },
    { name: 'more', type: { type: 'map', values: 'int' } },
    { name: 'raw', type: 'bytes' },
    { name: 'price', type: { type: 'bytes', logicalType: 'decimal', precision: 9, scale: 2 } },
  ],
} as const;

const orderOf = (at: number) => ({
  orderId: `o-${at}`,
  amount: at % 3 === 0 ? null : at / 4,
  count: at - 5,
  at: 1_700_000_000_000 + at,
  day: 19_000 + at,
  state: at % 2 === 0 ? 'OPEN' : 'PAID',
  buyer: { firstName: `Ada ${at} ü` },
  place: at % 2 === 0 ? null : { lat: at },
  tags: ['a', `${at}`],
  more: { x: at },
  raw: Buffer.from(`raw ${at}`),
  price: Buffer.from([0xff, at % 256]),
});

const fieldsOf = (at: number) => ({
  orderId: `o-${at}`,
  amount: at % 3 === 0 ? null : at / 4,
  count: at - 5,
  at: new Instant((1_700_000_000_000 + at) * 1000),
  day: new Instant((19_000 + at) * 86_400e6),
  state: at % 2 === 0 ? 'OPEN' : 'PAID',
  'buyer.firstName': `Ada ${at} ü`,
  'place.lat': at % 2 === 0 ? null : at,
  tags: ['a', `${at}`],
  more: { x: at },
  raw: new Uint8Array(Buffer.from(`raw ${at}`)),
  price: `-${((256 - (at % 256)) / 100).toFixed(2)}`,
});

type Codec = (bytes: Buffer, done: (error: Error | null, packed: Buffer<ArrayBuffer>) => void) => void;
const codecOf =
  (pack: (bytes: Buffer) => Uint8Array): Codec =>
  (bytes, done) =>
    done(null, Buffer.from(pack(bytes)));
const codecs: Readonly<Record<string, Codec>> = {
  null: codecOf((bytes) => bytes),
  deflate: codecOf((bytes) => deflateRawSync(bytes)),
  zstandard: codecOf((bytes) => zstdCompressSync(bytes)),
  snappy: codecOf(snappyLiteral),
  bzip2: codecOf((bytes) => bytes),
};

/** A file as another writer makes it, `blockSize` bytes a block. */
async function write(rows: number, codec: string, blockSize = 2_000): Promise<string> {
  const path = join(folder, `${files++}.avro`);
  const options = { codec, codecs: { ...codecs }, blockSize, writeHeader: true };
  const encoder = new avsc.streams.BlockEncoder(schema as unknown as avsc.Schema, options);
  const values = Array.from({ length: rows }, (_, at) => orderOf(at));
  await pipeline(Readable.from(values), encoder, createWriteStream(path));
  return path;
}

/** Snappy without a match: the length, literals of up to 60 bytes, and Avro's checksum. */
function snappyLiteral(bytes: Buffer): Buffer {
  const length: number[] = [];
  for (let left = bytes.length; ; left = Math.floor(left / 128)) {
    length.push(left < 128 ? left : (left % 128) | 0x80);
    if (left < 128) break;
  }
  const parts: Buffer[] = [Buffer.from(length)];
  for (let at = 0; at < bytes.length; at += 60) {
    const literal = bytes.subarray(at, at + 60);
    parts.push(Buffer.from([(literal.length - 1) << 2]), literal);
  }
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(bytes));
  return Buffer.concat([...parts, checksum]);
}

const format = definitions.RowFormat.fromPartial({});
async function read(path: string): Promise<InputRow[]> {
  const rows: InputRow[] = [];
  for await (const chunk of (await openRows(path, format)).chunks()) {
    expect(chunk.rows.length).toBeLessThanOrEqual(1_000);
    rows.push(...chunk.rows);
  }
  return rows;
}

function damaged(path: string, change: (bytes: Buffer) => Buffer): string {
  const other = join(folder, `${files++}.avro`);
  writeFileSync(other, change(readFileSync(path)));
  return other;
}

test.each(['null', 'deflate', 'snappy', 'zstandard'])(
  'what %s files have comes back, numbered from 1',
  async (codec) => {
    const rows = await read(await write(3_000, codec));
    expect(rows).toEqual(
      Array.from({ length: 3_000 }, (_, at) => ({ t: 'row', number: at + 1, fields: fieldsOf(at) })),
    );
  },
);

test('the schema of a file is that of its values, flattened', async () => {
  const { columns, eventTimes } = await inferSchema(await openRows(await write(50, 'deflate'), format));
  const { STRING, DOUBLE, INT64, TIMESTAMP } = definitions.FieldType;
  expect(columns.map(({ field, type, nullable }) => [field, type, nullable]).slice(0, 8)).toEqual([
    ['order_id', STRING, false],
    ['amount', DOUBLE, true],
    ['count', INT64, false],
    ['at', TIMESTAMP, false],
    ['day', TIMESTAMP, false],
    ['state', STRING, false],
    ['buyer_first_name', STRING, false],
    ['place_lat', INT64, true],
  ]);
  expect(eventTimes).toEqual(['at', 'day']);
});

test('a file of no rows has columns and none', async () => {
  const path = await write(0, 'null');
  expect((await openRows(path, format)).columns).toContain('buyer.firstName');
  expect(await read(path)).toEqual([]);
});

test('a cut or changed block is told by its number and byte, after the rows before it', async () => {
  const path = await write(1_000, 'deflate');
  const whole = readFileSync(path);
  const sync = whole.subarray(-16);
  const ends: number[] = [];
  for (let at = whole.indexOf(sync); at !== -1; at = whole.indexOf(sync, at + 1)) ends.push(at + 16);
  expect(ends.length).toBeGreaterThan(5);
  const third = ends[2] ?? 0;
  const at = new RegExp(`block 3 of .*, at byte ${third}, is corrupt: `);

  const cut = damaged(path, (bytes) => bytes.subarray(0, third + 40));
  await expect(read(cut)).rejects.toMatchObject({ reason: 'MALFORMED_PAYLOAD', message: expect.stringMatching(at) });
  await expect(read(cut)).rejects.toThrow(/the file is cut/);
  const changed = (offset: number) =>
    damaged(path, (bytes) => {
      bytes[offset] = (bytes[offset] ?? 0) ^ 0xff;
      return bytes;
    });
  await expect(read(changed((ends[3] ?? 0) - 1))).rejects.toThrow(new RegExp(`${at.source}.*sync marker`));
  await expect(read(changed(third + 5))).rejects.toThrow(new RegExp(`${at.source}it cannot be unpacked`));
});

test('a snappy block of another checksum is corrupt', async () => {
  const path = await write(10, 'snappy', 1_000_000);
  const changed = damaged(path, (bytes) => {
    bytes[bytes.length - 17] = (bytes[bytes.length - 17] ?? 0) ^ 1;
    return bytes;
  });
  await expect(read(changed)).rejects.toThrow(/block 1 of .* checksum is another one/);
});

test('what is no Avro file, and codecs that are not read, are refused by name', async () => {
  const text = join(folder, 'text.avro');
  writeFileSync(text, 'a,b\n1,2\n');
  await expect(openRows(text, format)).rejects.toThrow(/is not an Avro file: it does not begin with "Obj"/);
  writeFileSync(text, '');
  await expect(openRows(text, format)).rejects.toThrow(/is not an Avro file/);
  const cut = damaged(await write(1, 'null'), (bytes) => bytes.subarray(0, 100));
  await expect(openRows(cut, format)).rejects.toThrow(/its header is cut/);
  await expect(openRows(await write(1, 'bzip2'), format)).rejects.toThrow(
    /codec "bzip2"; write it with one of null, deflate, snappy, zstandard/,
  );
});

const bombBytes = 65 * 1024 ** 2;
test.each([
  ['deflate', () => deflateRawSync(Buffer.alloc(bombBytes))],
  ['zstandard', () => zstdCompressSync(Buffer.alloc(bombBytes))],
  // its length alone: nothing of that size may be made first
  ['snappy', () => Buffer.from([0x80, 0x80, 0xc0, 0x20, 0, 0, 0, 0, 0])],
])('a %s block that unpacks to more than the limit is refused before it is in memory', async (codec, pack) => {
  const path = await write(0, codec);
  const bomb = pack();
  const head = avsc.Type.forSchema('long');
  const grown = damaged(path, (bytes) =>
    Buffer.concat([bytes, head.toBuffer(1), head.toBuffer(bomb.length), bomb, bytes.subarray(-16)]),
  );
  await expect(read(grown)).rejects.toMatchObject({
    reason: 'LIMIT_EXCEEDED',
    message: expect.stringMatching(/^block 1 of .*, at byte \d+, has more bytes unpacked/),
  });
});

test('a block that says it is larger than the limit is refused before it is read', async () => {
  const head = avsc.Type.forSchema('long');
  const path = damaged(await write(3, 'null'), (bytes) =>
    Buffer.concat([bytes, head.toBuffer(1), head.toBuffer(2 ** 40), Buffer.alloc(64)]),
  );
  await expect(read(path)).rejects.toMatchObject({
    reason: 'LIMIT_EXCEEDED',
    message: expect.stringMatching(/^block 2 of .*, at byte \d+, has 1099511627776 bytes/),
  });
});

test('what is not of the schema in a block is told with its row and field, and rows that say more than there are with both', async () => {
  const head = avsc.Type.forSchema('long');
  const grown = async (rows: number, ...parts: readonly Buffer[]) => {
    const body = Buffer.concat(parts);
    return damaged(await write(0, 'null'), (bytes) =>
      Buffer.concat([bytes, head.toBuffer(rows), head.toBuffer(body.length), body, bytes.subarray(-16)]),
    );
  };
  const row = avsc.Type.forSchema(schema as unknown as avsc.Schema).toBuffer(orderOf(1));
  await expect(read(await grown(2, row, head.toBuffer(1_000_000)))).rejects.toThrow(
    /^block 1 of .*, at byte \d+, is corrupt: in its row 2, field "orderId" wants 1000000 more bytes/,
  );
  await expect(read(await grown(1, row, row))).rejects.toThrow(/bytes are left after its last row/);
  await expect(read(await grown(2 ** 40, row))).rejects.toThrow(/says that it has 1099511627776 rows/);
});

test('a field called __proto__ is one as any other, a nested and an absent one too', async () => {
  const place = { type: 'record', name: 'P', fields: [{ name: '__protX__', type: 'string' }] };
  const fields = [
    { name: '__protX__', type: 'string' },
    { name: 'place', type: ['null', place] },
  ];
  const path = join(folder, `${files++}.avro`);
  const schema = { type: 'record', name: 'R', fields } as unknown as avsc.Schema;
  const encoder = new avsc.streams.BlockEncoder(schema, { writeHeader: true });
  const rows = [null, { __protX__: 'y' }].map((place) => ({ __protX__: 'x', place }));
  await pipeline(Readable.from(rows), encoder, createWriteStream(path));
  // avsc cannot write a field of this name, and its names are in the header alone
  const renamed = readFileSync(path, 'latin1').replaceAll('__protX__', '__proto__');
  writeFileSync(path, renamed, 'latin1');
  const found = await read(path);
  const rowOf = (nested: string | null) => [
    ['__proto__', 'x'],
    ['place.__proto__', nested],
  ];
  expect(found.map((row) => (row.t === 'row' ? Object.entries(row.fields) : row.message))).toEqual([
    rowOf(null),
    rowOf('y'),
  ]);
});
