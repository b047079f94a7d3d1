import type { PredictionRecords } from '../app/predict.ts';

/** Some of the rows of records. */
export interface PredictionRows {
  readonly records: PredictionRecords;
  readonly from: number;
  readonly to: number;
}

/** A value of a vector with its status and age. */
const valueBytes = 8 + 1 + 8;
/** Ids, keys and what else a prediction has; an estimate. */
const predictionBytes = 256;

/** About how many bytes a row takes in a message. */
export function rowBytes({ vectors }: PredictionRecords): number {
  return predictionBytes + vectors.names.length * valueBytes;
}

/** What rows of one message have in common; the rest of it follows from the model's version. */
export function messageGroupOf({ deployment, model, modelVersion, featureServiceVersion, entity }: PredictionRecords) {
  return [deployment, model, modelVersion, featureServiceVersion, ...entity.map(({ name }) => name)].join('\n');
}

/**
 * The bytes of an events.PredictionBatch of rows of one group. By hand: what a vector is made of is copied, where the generated code makes a bigint of each age and takes
 * half as long as all else that a prediction of fifty rows needs.
 */
export function encodePredictions(parts: readonly PredictionRows[]): Uint8Array {
  const { records } = parts[0] as PredictionRows;
  const rows = parts.reduce((sum, { from, to }) => sum + to - from, 0);
  const writer = new Writer(rows * rowBytes(records) + 1_024);
  writer.text(1, records.deployment);
  writer.text(2, records.model);
  writer.text(3, records.modelVersion);
  writer.text(4, records.featureService);
  writer.text(5, records.featureServiceVersion);
  const times = parts.map((part) => part.records.predictedUs);
  const earliestUs = Math.min(...times);
  writer.int64(6, earliestUs);
  for (const { records: own, from, to } of parts) {
    for (let row = from; row < to; row++) writer.text(7, own.ids[row] ?? '', true);
    for (let row = from; row < to; row++) writer.text(8, own.keys[row] ?? '', true);
  }
  writer.doubles(9, rows, parts, ({ scores }) => scores);
  writer.int64s(10, rows, parts, ({ asOfUs }) => asOfUs);
  for (const name of records.vectors.names) writer.text(11, name, true);
  const width = records.vectors.names.length;
  writer.copied(12, rows * width * 8, parts, ({ vectors }, from, to) =>
    bytesOf(vectors.values, from * width, to * width),
  );
  writer.copied(13, rows * width, parts, ({ vectors }, from, to) =>
    vectors.statuses.subarray(from * width, to * width),
  );
  writer.int64s(14, rows, parts, ({ vectors }) => vectors.agesUs, width);
  for (const [at, { name }] of records.entity.entries()) {
    const values = parts.flatMap(({ records: own, from, to }) => own.entity[at]?.values.slice(from, to) ?? []);
    writer.entity(name, values);
  }
  if (times.some((us) => us !== earliestUs)) writer.int64s(16, rows, parts, ({ predictedUs }) => predictedUs);
  return writer.finish();
}

function bytesOf(values: Float64Array, from: number, to: number): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset + from * 8, (to - from) * 8);
}

/** Values of rows, or one value that all of them have. */
type Values = (records: PredictionRecords) => ArrayLike<number> | number;

class Writer {
  #bytes: Buffer;
  #at = 0;

  constructor(size: number) {
    this.#bytes = Buffer.from(new ArrayBuffer(size));
  }

  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  /** Empty text is left out, unless it is one of several. */
  text(field: number, value: string, always = false): void {
    if (value === '' && !always) return;
    const length = Buffer.byteLength(value);
    this.#open(field, length);
    this.#at += this.#bytes.write(value, this.#at);
  }

  int64(field: number, value: number): void {
    this.#reserve(16);
    this.#varint(field * 8 + 1);
    this.#int64(value);
  }

  doubles(
    field: number,
    rows: number,
    parts: readonly PredictionRows[],
    values: (of: PredictionRecords) => readonly number[],
  ): void {
    this.#open(field, rows * 8);
    for (const { records, from, to } of parts) {
      const own = values(records);
      for (let row = from; row < to; row++) this.#at = this.#bytes.writeDoubleLE(own[row] ?? Number.NaN, this.#at);
    }
  }

  int64s(field: number, rows: number, parts: readonly PredictionRows[], values: Values, width = 1): void {
    if (rows * width === 0) return;
    this.#open(field, rows * width * 8);
    for (const { records, from, to } of parts) {
      const own = values(records);
      for (let at = from * width; at < to * width; at++) this.#int64(typeof own === 'number' ? own : (own[at] ?? 0));
    }
  }

  copied(
    field: number,
    length: number,
    parts: readonly PredictionRows[],
    bytes: (records: PredictionRecords, from: number, to: number) => Uint8Array,
  ): void {
    if (length === 0) return;
    this.#open(field, length);
    for (const { records, from, to } of parts) {
      const own = bytes(records, from, to);
      this.#bytes.set(own, this.#at);
      this.#at += own.length;
    }
  }

  /** An EntityKey. */
  entity(name: string, values: readonly string[]): void {
    const inner = new Writer(values.reduce((sum, value) => sum + value.length + 8, name.length + 16));
    inner.text(1, name);
    for (const value of values) inner.text(2, value, true);
    const bytes = inner.finish();
    this.#open(15, bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Tag and length of a field, and room for what it holds. */
  #open(field: number, length: number): void {
    this.#reserve(length + 16);
    this.#varint(field * 8 + 2);
    this.#varint(length);
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#bytes.length) return;
    const larger = Buffer.from(new ArrayBuffer(2 * (this.#at + bytes)));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = larger;
  }

  #varint(value: number): void {
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) this.#bytes[this.#at++] = (rest % 0x80) | 0x80;
    this.#bytes[this.#at++] = rest;
  }

  /** Numbers beyond 2⁵³ are no times; the halves of others are exact. */
  #int64(value: number): void {
    const high = Math.floor(value / 2 ** 32);
    this.#bytes.writeUInt32LE(value - high * 2 ** 32, this.#at);
    this.#at = this.#bytes.writeInt32LE(high, this.#at + 4);
  }
}
