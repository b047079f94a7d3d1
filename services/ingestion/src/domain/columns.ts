import type { Column, Scalar } from '@millrace/features';

/** A column that is being filled. `row` never exceeds the capacity that it was made with. */
export class F64Builder {
  readonly values: Float64Array;
  nulls: Uint8Array | null = null;

  constructor(capacity: number) {
    this.values = new Float64Array(capacity);
  }

  setNull(row: number): void {
    this.nulls ??= new Uint8Array(this.values.length);
    this.nulls[row] = 1;
    this.values[row] = 0;
  }

  live(): Column {
    this.nulls ??= new Uint8Array(this.values.length);
    return { type: 'f64', values: this.values, nulls: this.nulls };
  }

  put(value: Scalar, row: number): void {
    this.values[row] = Number(value);
  }

  gather(rows: Rows): Column {
    const values =
      rows.t === 'range'
        ? this.values.subarray(rows.from, rows.to)
        : Float64Array.from(rows.list, (row) => this.values[row] as number);
    return { type: 'f64', values, nulls: gatherNulls(this.nulls, rows) };
  }
}

export class I64Builder {
  readonly values: BigInt64Array;
  /** Little-endian halves of `values`, so that safe integers need no BigInt. */
  readonly halves: Uint32Array;
  nulls: Uint8Array | null = null;

  constructor(capacity: number) {
    this.values = new BigInt64Array(capacity);
    this.halves = new Uint32Array(this.values.buffer);
  }

  setSafe(row: number, value: number): void {
    this.halves[row * 2] = value >>> 0;
    this.halves[row * 2 + 1] = Math.floor(value / 0x1_0000_0000) >>> 0;
  }

  setNull(row: number): void {
    this.nulls ??= new Uint8Array(this.values.length);
    this.nulls[row] = 1;
    this.values[row] = 0n;
  }

  live(): Column {
    this.nulls ??= new Uint8Array(this.values.length);
    return { type: 'i64', values: this.values, nulls: this.nulls };
  }

  put(value: Scalar, row: number): void {
    this.values[row] = typeof value === 'number' ? BigInt(Math.round(value)) : BigInt(value ?? 0);
  }

  gather(rows: Rows): Column {
    const values =
      rows.t === 'range'
        ? this.values.subarray(rows.from, rows.to)
        : BigInt64Array.from(rows.list, (row) => this.values[row] as bigint);
    return { type: 'i64', values, nulls: gatherNulls(this.nulls, rows) };
  }
}

export class BoolBuilder {
  readonly values: Uint8Array;
  nulls: Uint8Array | null = null;

  constructor(capacity: number) {
    this.values = new Uint8Array(capacity);
  }

  setNull(row: number): void {
    this.nulls ??= new Uint8Array(this.values.length);
    this.nulls[row] = 1;
    this.values[row] = 0;
  }

  live(): Column {
    this.nulls ??= new Uint8Array(this.values.length);
    return { type: 'bool', values: this.values, nulls: this.nulls };
  }

  put(value: Scalar, row: number): void {
    this.values[row] = value === true || Number(value) === 1 ? 1 : 0;
  }

  gather(rows: Rows): Column {
    const values =
      rows.t === 'range'
        ? this.values.subarray(rows.from, rows.to)
        : Uint8Array.from(rows.list, (row) => this.values[row] as number);
    return { type: 'bool', values, nulls: gatherNulls(this.nulls, rows) };
  }
}

export class StrBuilder {
  readonly values: string[];
  nulls: Uint8Array | null = null;
  readonly #capacity: number;

  constructor(capacity: number) {
    this.values = [];
    this.#capacity = capacity;
  }

  setNull(row: number): void {
    this.nulls ??= new Uint8Array(this.#capacity);
    this.nulls[row] = 1;
    this.values[row] = '';
  }

  live(): Column {
    this.nulls ??= new Uint8Array(this.#capacity);
    return { type: 'str', values: this.values, nulls: this.nulls };
  }

  put(value: Scalar, row: number): void {
    this.values[row] = String(value);
  }

  gather(rows: Rows): Column {
    const values =
      rows.t === 'range' ? this.values.slice(rows.from, rows.to) : rows.list.map((row) => this.values[row] as string);
    return { type: 'str', values, nulls: gatherNulls(this.nulls, rows) };
  }
}

/** The vectors one after the other. */
export class VecBuilder {
  readonly values: Float32Array;
  nulls: Uint8Array | null = null;
  readonly #dimension: number;
  readonly #capacity: number;

  constructor(capacity: number, dimension: number) {
    this.values = new Float32Array(capacity * dimension);
    this.#dimension = dimension;
    this.#capacity = capacity;
  }

  setNull(row: number): void {
    this.nulls ??= new Uint8Array(this.#capacity);
    this.nulls[row] = 1;
    this.values.fill(0, row * this.#dimension, (row + 1) * this.#dimension);
  }

  live(): Column {
    this.nulls ??= new Uint8Array(this.#capacity);
    return { type: 'vec', dimension: this.#dimension, values: this.values, nulls: this.nulls };
  }

  gather(rows: Rows): Column {
    const dimension = this.#dimension;
    if (rows.t === 'range') {
      const values = this.values.subarray(rows.from * dimension, rows.to * dimension);
      return { type: 'vec', dimension, values, nulls: gatherNulls(this.nulls, rows) };
    }
    const values = new Float32Array(rows.list.length * dimension);
    for (const [at, row] of rows.list.entries())
      values.set(this.values.subarray(row * dimension, (row + 1) * dimension), at * dimension);
    return { type: 'vec', dimension, values, nulls: gatherNulls(this.nulls, rows) };
  }
}

/** Which rows of the builders a message takes. */
export type Rows =
  | { readonly t: 'range'; readonly from: number; readonly to: number }
  | { readonly t: 'list'; readonly list: readonly number[] };

function gatherNulls(nulls: Uint8Array | null, rows: Rows): Uint8Array | null {
  if (nulls === null) return null;
  const gathered =
    rows.t === 'range' ? nulls.subarray(rows.from, rows.to) : Uint8Array.from(rows.list, (row) => nulls[row] as number);
  return gathered.includes(1) ? gathered : null;
}
