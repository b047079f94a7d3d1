import { byBytes } from './filter.ts';
import type { Column, FeatureDefinition, FieldType, Scalar, SourceField } from './types.ts';
import { rateSeconds } from './windows.ts';

/**
 * A cell is a mergeable, order-free partial aggregate in slots of doubles (and of an array of texts). Numeric values take two slots:
 * an integer is high · 2³² + low, exact over all 64 bits; a float is (value, 0). Nothing is ever subtracted.
 *
 * count [n] · sum [n, high, low] or [n, sum, compensation] · moments [n, mean, m2] · min, max [n, a, b] · first, last [n, time, seq, index, a, b]
 */
export type CellKind = 'count' | 'sum' | 'moments' | 'min' | 'max' | 'first' | 'last';

export interface Cell {
  readonly kind: CellKind;
  readonly field: string;
  readonly type: FieldType;
  readonly filter: string;
  readonly width: number;
  /** Strings have their value among the texts. */
  readonly isText: boolean;
}

const widths: Readonly<Record<CellKind, number>> = { count: 1, sum: 3, moments: 3, min: 3, max: 3, first: 6, last: 6 };

export function cellOf(feature: FeatureDefinition, fields: ReadonlyMap<string, SourceField>): Cell {
  const kind = kindOf(feature);
  const type = fields.get(feature.field)?.type ?? 'INT64';
  return {
    kind,
    field: feature.field,
    type,
    filter: feature.filter,
    width: widths[kind],
    isText: type === 'STRING' && kind !== 'count',
  };
}

function kindOf({ function: fn, field }: FeatureDefinition): CellKind {
  switch (fn) {
    case 'mean':
      return 'sum';
    case 'rate':
      return field === '' ? 'count' : 'sum';
    case 'variance':
    case 'stddev':
      return 'moments';
    default:
      return fn;
  }
}

export function cellKey({ kind, field, filter }: Cell): string {
  return `${kind}\n${field}\n${filter}`;
}

/** Plain arrays of doubles: states hold a great many small ones, and to the collector each is one block with nothing to follow. */
export type Slots = number[];
export type Texts = string[];

const zeros: Slots[] = [];

/** Slots of a width, all 0. */
export function newSlots(width: number): Slots {
  // what has held a fraction keeps its elements as doubles, and so do its copies
  zeros[width] ??= Array.from({ length: width }, () => 0.5).fill(0);
  return zeros[width].slice();
}

const two32 = 4294967296;

/** Puts an event's value of two slots at `at`; false when it is null. */
export type ReadPair = (row: number, slots: Slots, at: number) => boolean;

export function pairReader(column: Column | undefined): ReadPair {
  if (!column) return () => false;
  const { nulls } = column;
  const read = presentPairReader(column);
  if (!nulls) return read;
  return (row, slots, at) => nulls[row] !== 1 && read(row, slots, at);
}

function presentPairReader(column: Column): ReadPair {
  switch (column.type) {
    case 'f64': {
      const { values } = column;
      return (row, slots, at) => {
        slots[at] = values[row] as number;
        slots[at + 1] = 0;
        return true;
      };
    }
    case 'i64': {
      // little-endian halves: no bigint is made
      const low = new Uint32Array(column.values.buffer, column.values.byteOffset, column.values.length * 2);
      const high = new Int32Array(column.values.buffer, column.values.byteOffset, column.values.length * 2);
      return (row, slots, at) => {
        slots[at] = high[2 * row + 1] as number;
        slots[at + 1] = low[2 * row] as number;
        return true;
      };
    }
    case 'bool': {
      const { values } = column;
      return (row, slots, at) => {
        slots[at] = 0;
        slots[at + 1] = values[row] as number;
        return true;
      };
    }
    case 'str':
      return (_row, slots, at) => {
        slots[at] = 0;
        slots[at + 1] = 0;
        return true;
      };
    default:
      return column satisfies never;
  }
}

/** Fills an empty cell with one event. `pair` holds the value's two slots. */
export function fillCell(
  cell: Cell,
  slots: Slots,
  at: number,
  pair: Slots,
  time: number,
  seq: number,
  index: number,
): void {
  const a = pair[0] as number;
  const b = pair[1] as number;
  slots[at] = 1;
  switch (cell.kind) {
    case 'count':
      return;
    case 'sum':
    case 'min':
    case 'max':
      slots[at + 1] = a;
      slots[at + 2] = b;
      return;
    case 'moments':
      slots[at + 1] = cell.type === 'DOUBLE' ? a : a * two32 + b;
      slots[at + 2] = 0;
      return;
    case 'first':
    case 'last':
      slots[at + 1] = time;
      slots[at + 2] = seq;
      slots[at + 3] = index;
      slots[at + 4] = a;
      slots[at + 5] = b;
      return;
    default:
      cell.kind satisfies never;
  }
}

/** Adds what is in `from` to what is in `to`. */
export type Merge = (
  to: Slots,
  at: number,
  from: Slots,
  fromAt: number,
  toTexts: Texts | null,
  textAt: number,
  fromTexts: Texts | null,
  fromTextAt: number,
) => void;

export function merger(cell: Cell): Merge {
  switch (cell.kind) {
    case 'count':
      return (to, at, from, fromAt) => {
        to[at] = (to[at] as number) + (from[fromAt] as number);
      };
    case 'sum': {
      const add = cell.type === 'DOUBLE' ? addCompensated : addInteger;
      return (to, at, from, fromAt) => {
        to[at] = (to[at] as number) + (from[fromAt] as number);
        add(to, at + 1, from[fromAt + 1] as number, from[fromAt + 2] as number);
      };
    }
    case 'moments':
      return mergeMoments;
    default:
      return extremeMerger(cell);
  }
}

function extremeMerger(cell: Cell): Merge {
  const { width } = cell;
  const byText = cell.isText && (cell.kind === 'min' || cell.kind === 'max');
  const sign = cell.kind === 'min' || cell.kind === 'first' ? 1 : -1;
  return (to, at, from, fromAt, toTexts, textAt, fromTexts, fromTextAt) => {
    const n = from[fromAt] as number;
    if (n === 0) return;
    const m = to[at] as number;
    to[at] = m + n;
    if (m > 0) {
      const order = byText
        ? byBytes(fromTexts?.[fromTextAt] ?? '', toTexts?.[textAt] ?? '')
        : compareSlots(from, fromAt + 1, to, at + 1, width - 1);
      if (order * sign >= 0) return;
    }
    for (let i = 1; i < width; i++) to[at + i] = from[fromAt + i] as number;
    if (cell.isText && toTexts && fromTexts) toTexts[textAt] = fromTexts[fromTextAt] ?? '';
  };
}

/** Lexicographic: for values (a, b), for first and last (time, seq, index, …). */
function compareSlots(x: Slots, xAt: number, y: Slots, yAt: number, count: number): number {
  for (let i = 0; i < count; i++) {
    const difference = (x[xAt + i] as number) - (y[yAt + i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Neumaier's compensated sum: the error of a million additions stays in the last bits. */
function addCompensated(to: Slots, at: number, value: number, compensation: number): void {
  const sum = to[at] as number;
  const total = sum + value;
  const lost = Math.abs(sum) >= Math.abs(value) ? sum - total + value : value - total + sum;
  to[at] = total;
  to[at + 1] = (to[at + 1] as number) + lost + compensation;
}

function addInteger(to: Slots, at: number, high: number, low: number): void {
  const sum = (to[at + 1] as number) + low;
  const carry = Math.floor(sum / two32);
  to[at + 1] = sum - carry * two32;
  to[at] = (to[at] as number) + high + carry;
}

/** Chan, Golub and LeVeque (1983): the moments of two samples together. */
function mergeMoments(to: Slots, at: number, from: Slots, fromAt: number): void {
  const n = from[fromAt] as number;
  if (n === 0) return;
  const m = to[at] as number;
  to[at] = m + n;
  if (m === 0) {
    to[at + 1] = from[fromAt + 1] as number;
    to[at + 2] = from[fromAt + 2] as number;
    return;
  }
  const mean = to[at + 1] as number;
  const delta = (from[fromAt + 1] as number) - mean;
  to[at + 1] = mean + (delta * n) / (m + n);
  to[at + 2] = (to[at + 2] as number) + (from[fromAt + 2] as number) + (delta * delta * m * n) / (m + n);
}

/** A feature's value where no event counts. */
export function valueOfNothing(fn: FeatureDefinition['function']): 0 | null {
  return fn === 'count' || fn === 'rate' ? 0 : null;
}

/** A feature's value from its cell. */
export type Finish = (slots: Slots, at: number, texts: Texts | null, textAt: number) => Scalar;

export function finisher(feature: FeatureDefinition, cell: Cell): Finish {
  switch (feature.function) {
    case 'count':
      return (slots, at) => slots[at] as number;
    case 'sum':
      if (cell.type === 'DOUBLE')
        return (slots, at) => (slots[at] === 0 ? null : (slots[at + 1] as number) + (slots[at + 2] as number));
      return (slots, at) => (slots[at] === 0 ? null : integer(slots[at + 1] as number, slots[at + 2] as number));
    case 'mean':
      if (cell.type === 'DOUBLE')
        return (slots, at) =>
          slots[at] === 0 ? null : ((slots[at + 1] as number) + (slots[at + 2] as number)) / (slots[at] as number);
      return (slots, at) => (slots[at] === 0 ? null : unwrapped(slots, at) / (slots[at] as number));
    case 'rate': {
      const seconds = rateSeconds(feature.window);
      if (cell.kind === 'count') return (slots, at) => (slots[at] as number) / seconds;
      if (cell.type === 'DOUBLE')
        return (slots, at) => ((slots[at + 1] as number) + (slots[at + 2] as number)) / seconds;
      return (slots, at) => unwrapped(slots, at) / seconds;
    }
    case 'variance':
      return (slots, at) => variance(slots, at, feature.ddof);
    case 'stddev':
      return (slots, at) => {
        const value = variance(slots, at, feature.ddof);
        return value === null ? null : Math.sqrt(value);
      };
    case 'min':
    case 'max':
      return valueFinisher(cell, 1);
    case 'first':
    case 'last':
      return valueFinisher(cell, 4);
    default:
      return feature.function satisfies never;
  }
}

/** An integer sum before it wraps: what is made of it fits in a float64 where the sum does not fit in 64 bits. */
function unwrapped(slots: Slots, at: number): number {
  return (slots[at + 1] as number) * two32 + (slots[at + 2] as number);
}

function valueFinisher(cell: Cell, offset: number): Finish {
  if (cell.isText) return (slots, at, texts, textAt) => (slots[at] === 0 ? null : (texts?.[textAt] ?? ''));
  if (cell.type === 'DOUBLE') return (slots, at) => (slots[at] === 0 ? null : (slots[at + offset] as number));
  if (cell.type === 'BOOL') return (slots, at) => (slots[at] === 0 ? null : slots[at + offset + 1] === 1);
  return (slots, at) =>
    slots[at] === 0 ? null : integer(slots[at + offset] as number, slots[at + offset + 1] as number);
}

function variance(slots: Slots, at: number, ddof: number): number | null {
  const n = slots[at] as number;
  return n <= ddof || n === 0 ? null : Math.max(0, slots[at + 2] as number) / (n - ddof);
}

/** A number while safe, else a bigint that wraps at 64 bits as ClickHouse's Int64 does. */
function integer(high: number, low: number): number | bigint {
  const value = high * two32 + low;
  if (Number.isSafeInteger(value)) return value;
  const wrapped = BigInt.asIntN(64, BigInt(high) * 4294967296n + BigInt(low));
  return Number.isSafeInteger(Number(wrapped)) ? Number(wrapped) : wrapped;
}

/** The two slots of a value that SQL gave. */
export function setPair(type: FieldType, value: unknown, slots: Slots, at: number): void {
  if (type === 'DOUBLE') {
    slots[at] = Number(value);
    slots[at + 1] = 0;
    return;
  }
  const whole = typeof value === 'boolean' ? BigInt(value) : BigInt(String(value));
  const high = whole >> 32n;
  slots[at] = Number(high);
  slots[at + 1] = Number(whole - (high << 32n));
}
