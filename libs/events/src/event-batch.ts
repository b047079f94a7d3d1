/**
 * The codec of `millrace.events.v1.EventBatch`, written by hand: packed sfixed64, fixed64, double and float fields are little-endian blocks on
 * the wire, so whole columns are copied. Wire-equal to the generated code (event-batch.test.ts). Needs a little-endian machine.
 */
export type Column =
  | { readonly type: 'f64'; readonly values: Float64Array; readonly nulls: Uint8Array | null }
  | { readonly type: 'i64'; readonly values: BigInt64Array; readonly nulls: Uint8Array | null }
  | { readonly type: 'bool'; readonly values: Uint8Array; readonly nulls: Uint8Array | null }
  | { readonly type: 'str'; readonly values: readonly string[]; readonly nulls: Uint8Array | null }
  /** The vectors one after the other. */
  | {
      readonly type: 'vec';
      readonly dimension: number;
      readonly values: Float32Array;
      readonly nulls: Uint8Array | null;
    };

/** What an event does to the one with its id: nothing, as there is none; takes its place; deletes it. */
export const operations = { insert: 0, replace: 1, remove: 2 } as const;

/** Of events that may be corrected: an operation for each, and the publisher's number of the change (0: none) where any has one. */
export interface Changes {
  readonly operations: Uint8Array;
  readonly sequences: BigUint64Array | null;
}

/** Validated events of one source, a column for each field; `nulls` has a byte per event, 1 for null. */
export interface DecodedBatch {
  readonly source: string;
  readonly sourceVersion: string;
  readonly knownTimeUs: number;
  readonly count: number;
  readonly ids: readonly string[];
  readonly eventTimeUs: Float64Array;
  readonly payloadHashes: BigUint64Array;
  readonly columns: ReadonlyMap<string, Column>;
  /** Left out where every event is new. */
  readonly changes?: Changes;
}

type Block = Float64Array | Float32Array | BigInt64Array | BigUint64Array | Uint8Array;

export function encodeEventBatch(batch: DecodedBatch): Buffer {
  const columns = [...batch.columns].map(([name, column]) => ({ name, column, size: columnSize(name, column) }));
  let size = textSize(batch.source) + textSize(batch.sourceVersion) + 9 + blockSize(8 * batch.count) * 2;
  for (const id of batch.ids) size += textFieldSize(id);
  for (const column of columns) size += 1 + varintSize(column.size) + column.size;
  const { changes } = batch;
  if (changes) size += blockSize(batch.count) + blockSize(changes.sequences?.byteLength ?? 0);
  const writer = new Writer(size);
  if (batch.source !== '') writer.text(0x0a, batch.source);
  if (batch.sourceVersion !== '') writer.text(0x12, batch.sourceVersion);
  writer.fixed(0x19, batch.knownTimeUs);
  for (const id of batch.ids) writer.text(0x22, id);
  writer.times(0x2a, batch.eventTimeUs);
  writer.block(0x32, batch.payloadHashes);
  for (const { name, column, size: bytes } of columns) {
    writer.head(0x3a, bytes);
    writeColumn(writer, name, column);
  }
  if (changes) {
    writer.block(0x42, changes.operations);
    if (changes.sequences) writer.block(0x4a, changes.sequences);
  }
  return writer.buffer.subarray(0, writer.at);
}

function writeColumn(writer: Writer, name: string, column: Column): void {
  if (name !== '') writer.text(0x0a, name);
  switch (column.type) {
    case 'f64':
      writer.block(0x12, column.values);
      break;
    case 'i64':
      writer.block(0x1a, column.values);
      break;
    case 'bool':
      writer.block(0x22, column.values);
      break;
    case 'str':
      for (const value of column.values) writer.text(0x2a, value);
      break;
    case 'vec':
      break;
    default:
      column satisfies never;
  }
  if (column.nulls) writer.block(0x32, column.nulls);
  if (column.type !== 'vec') return;
  writer.block(0x3a, column.values);
  writer.head(0x40, column.dimension);
}

function columnSize(name: string, column: Column): number {
  const nulls = column.nulls ? blockSize(column.nulls.length) : 0;
  const dimension = column.type === 'vec' ? 1 + varintSize(column.dimension) : 0;
  if (column.type !== 'str') return textSize(name) + blockSize(column.values.byteLength) + nulls + dimension;
  return column.values.reduce((sum, value) => sum + textFieldSize(value), textSize(name) + nulls);
}

/** Of a singular field, which is left out when empty. */
function textSize(text: string): number {
  return text === '' ? 0 : textFieldSize(text);
}

function textFieldSize(text: string): number {
  const bytes = Buffer.byteLength(text);
  return 1 + varintSize(bytes) + bytes;
}

function blockSize(bytes: number): number {
  return 1 + varintSize(bytes) + bytes;
}

function varintSize(value: number): number {
  return value < 0x80 ? 1 : value < 0x4000 ? 2 : value < 0x200000 ? 3 : value < 0x10000000 ? 4 : 5;
}

class Writer {
  readonly buffer: Buffer;
  at = 0;

  constructor(size: number) {
    this.buffer = Buffer.allocUnsafe(size);
  }

  head(tag: number, length: number): void {
    this.buffer[this.at++] = tag;
    let rest = length;
    for (; rest > 0x7f; rest >>>= 7) this.buffer[this.at++] = (rest & 0x7f) | 0x80;
    this.buffer[this.at++] = rest;
  }

  text(tag: number, text: string): void {
    this.head(tag, Buffer.byteLength(text));
    this.at += this.buffer.write(text, this.at);
  }

  block(tag: number, values: Block): void {
    if (values.length === 0) return;
    this.head(tag, values.byteLength);
    this.buffer.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), this.at);
    this.at += values.byteLength;
  }

  fixed(tag: number, value: number): void {
    this.buffer[this.at++] = tag;
    this.#int64(value);
  }

  times(tag: number, values: Float64Array): void {
    if (values.length === 0) return;
    this.head(tag, values.length * 8);
    for (let i = 0; i < values.length; i++) this.#int64(values[i] ?? 0);
  }

  #int64(value: number): void {
    const high = Math.floor(value / 4294967296);
    this.buffer.writeUInt32LE(value - high * 4294967296, this.at);
    this.buffer.writeInt32LE(high, this.at + 4);
    this.at += 8;
  }
}

/** Throws RangeError for bytes that end too early. Unknown fields are skipped. */
export function decodeEventBatch(bytes: Uint8Array): DecodedBatch {
  const reader = new Reader(bytes);
  let source = '';
  let sourceVersion = '';
  let knownTimeUs = 0;
  const ids: string[] = [];
  let eventTimeUs: Float64Array = new Float64Array();
  let payloadHashes = new BigUint64Array();
  const columns = new Map<string, Column>();
  let operationBytes: Uint8Array | undefined;
  let sequences: BigUint64Array | null = null;
  while (reader.more()) {
    const tag = reader.varint();
    if (tag === 0x0a) source = reader.text();
    else if (tag === 0x12) sourceVersion = reader.text();
    else if (tag === 0x19) knownTimeUs = reader.int64();
    else if (tag === 0x22) ids.push(reader.text());
    else if (tag === 0x2a) eventTimeUs = reader.times();
    else if (tag === 0x32) payloadHashes = new BigUint64Array(reader.aligned());
    else if (tag === 0x3a) {
      const [name, column] = decodeColumn(reader.bytes());
      columns.set(name, column);
    } else if (tag === 0x42) operationBytes = new Uint8Array(reader.aligned());
    else if (tag === 0x4a) sequences = new BigUint64Array(reader.aligned());
    else reader.skip(tag);
  }
  const batch = { source, sourceVersion, knownTimeUs, count: ids.length, ids, eventTimeUs, payloadHashes, columns };
  return operationBytes === undefined ? batch : { ...batch, changes: { operations: operationBytes, sequences } };
}

function decodeColumn(bytes: Buffer): [string, Column] {
  const reader = new Reader(bytes);
  let name = '';
  let nulls: Uint8Array | null = null;
  let block: { readonly type: 'f64' | 'i64' | 'bool' | 'vec'; readonly bytes: ArrayBuffer } | undefined;
  let dimension = 0;
  const strings: string[] = [];
  while (reader.more()) {
    const tag = reader.varint();
    if (tag === 0x0a) name = reader.text();
    else if (tag === 0x12) block = { type: 'f64', bytes: reader.aligned() };
    else if (tag === 0x1a) block = { type: 'i64', bytes: reader.aligned() };
    else if (tag === 0x22) block = { type: 'bool', bytes: reader.aligned() };
    else if (tag === 0x2a) strings.push(reader.text());
    else if (tag === 0x32) nulls = new Uint8Array(reader.aligned());
    else if (tag === 0x3a) block = { type: 'vec', bytes: reader.aligned() };
    else if (tag === 0x40) dimension = reader.varint();
    else reader.skip(tag);
  }
  if (block?.type === 'f64') return [name, { type: 'f64', values: new Float64Array(block.bytes), nulls }];
  if (block?.type === 'i64') return [name, { type: 'i64', values: new BigInt64Array(block.bytes), nulls }];
  if (block?.type === 'bool') return [name, { type: 'bool', values: new Uint8Array(block.bytes), nulls }];
  if (block?.type === 'vec') return [name, { type: 'vec', dimension, values: new Float32Array(block.bytes), nulls }];
  return [name, { type: 'str', values: strings, nulls }];
}

class Reader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  more(): boolean {
    return this.#at < this.#buffer.length;
  }

  varint(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#buffer.readUInt8(this.#at++);
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new RangeError('varint of more than five bytes');
  }

  bytes(): Buffer {
    const length = this.varint();
    if (this.#at + length > this.#buffer.length) throw new RangeError('field runs past the end');
    this.#at += length;
    return this.#buffer.subarray(this.#at - length, this.#at);
  }

  /** A copy that starts at an address fit for any typed array. */
  aligned(): ArrayBuffer {
    const bytes = this.bytes();
    const copy = new ArrayBuffer(bytes.length);
    new Uint8Array(copy).set(bytes);
    return copy;
  }

  text(): string {
    const length = this.varint();
    if (this.#at + length > this.#buffer.length) throw new RangeError('field runs past the end');
    this.#at += length;
    return this.#buffer.toString('utf8', this.#at - length, this.#at);
  }

  int64(): number {
    this.#at += 8;
    return this.#buffer.readInt32LE(this.#at - 4) * 4294967296 + this.#buffer.readUInt32LE(this.#at - 8);
  }

  times(): Float64Array {
    const length = this.varint();
    const values = new Float64Array(length / 8);
    for (let i = 0; i < values.length; i++) values[i] = this.int64();
    return values;
  }

  skip(tag: number): void {
    const kind = tag & 7;
    if (kind === 0) this.varint();
    else if (kind === 1) this.#at += 8;
    else if (kind === 2) this.bytes();
    else if (kind === 5) this.#at += 4;
    else throw new RangeError(`unknown wire type ${kind}`);
  }
}
