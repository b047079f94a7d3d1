import { serving } from '@millrace/contracts';
import { type FeatureValue, type FieldType, type List, vectorOf } from '@millrace/features';
import { Block, type Matrix, type Plan, type PlannedFeature } from './plan.ts';
import { encodeVectors } from './vector-column.ts';
import { encodeField, fieldSize, openField, varintSize, writeVarint } from './wire.ts';

export type { Matrix } from './plan.ts';

/** Lays out an empty answer; every value is null and every status UNSPECIFIED. */
export function createMatrix(
  plan: Plan,
  asOfUs: Float64Array,
  options: { readonly sameAsOf: boolean; readonly metadata: boolean },
): Matrix {
  const rows = asOfUs.length;
  const doubles = rows * plan.doubles * 8;
  const int64s = rows * plan.int64s * 8;
  const statuses = rows * plan.features.length;
  const times = fieldSize(rows * 8) * 3;
  const same = options.sameAsOf ? (asOfUs[0] ?? 0) : 0;
  let size = optionalSize(doubles) + optionalSize(int64s) + optionalSize(statuses) + plan.wireVersion.length;
  if (same > 0) size += 1 + varintSize(same);
  if (options.metadata) {
    size += plan.wireFeatures.length;
    for (const view of plan.views) size += fieldSize(view.wireHead.length + times);
  }
  // not from the pool: numbers are written through a DataView, and the answer outlives the call
  const bytes = Buffer.from(new ArrayBuffer(size));
  const data = new DataView(bytes.buffer);
  let at = 0;
  const open = (field: number, length: number): number => {
    if (length === 0) return at;
    const start = openField(bytes, at, field, length);
    at = start + length;
    return start;
  };
  const doublesAt = open(1, doubles);
  const int64sAt = open(2, int64s);
  const statusesAt = open(4, statuses);
  const eventTimesAt: number[] = [];
  const positionsAt: number[] = [];
  const knownTimesAt: number[] = [];
  for (const view of plan.views) {
    if (!options.metadata) {
      eventTimesAt.push(-1);
      positionsAt.push(-1);
      knownTimesAt.push(-1);
      continue;
    }
    at = openField(bytes, at, 5, view.wireHead.length + times);
    at += view.wireHead.copy(bytes, at);
    eventTimesAt.push(open(3, rows * 8));
    positionsAt.push(open(4, rows * 8));
    knownTimesAt.push(open(5, rows * 8));
  }
  if (options.metadata) at += plan.wireFeatures.copy(bytes, at);
  at += plan.wireVersion.copy(bytes, at);
  if (same > 0) {
    bytes[at] = 0x40;
    writeVarint(bytes, at + 1, same);
  }
  return {
    plan,
    rows,
    bytes,
    data,
    doublesAt,
    int64sAt,
    statusesAt,
    eventTimesAt,
    positionsAt,
    knownTimesAt,
    strings: Array.from({ length: plan.strings }, () => new Array<string>(rows).fill('')),
    lists: plan.lists.map(() => new Array<List>(rows).fill([])),
    vectors: plan.vectors.map(() => new Array<Uint8Array | null>(rows).fill(null)),
    lookupKeys: plan.lookups && new Map(),
    asOfUs,
    statusCounts: new Int32Array(8),
  };
}

/** The bytes of the GetFeaturesResponse. */
export function encodeMatrix(matrix: Matrix): Buffer {
  const { strings, lists: listColumns, vectors: vectorColumns } = matrix;
  if (strings.length + listColumns.length + vectorColumns.length === 0) return matrix.bytes;
  const columns = strings.map((values) =>
    encodeField(3, Buffer.from(serving.StringColumn.encode({ values }).finish())),
  );
  const lists = listColumns.map((values, at) =>
    encodeField(10, Buffer.from(serving.ListColumn.encode(listColumn(values, matrix.plan.lists[at])).finish())),
  );
  const vectors = vectorColumns.map((rows, at) => encodeVectors(rows, matrix.plan.vectors[at] ?? 0));
  return Buffer.concat([matrix.bytes, ...columns, ...lists, ...vectors]);
}

function listColumn(lists: readonly List[], element: FieldType | undefined): serving.ListColumn {
  let end = 0;
  const ends = lists.map(({ length }) => (end += length));
  const values = lists.flat();
  const column: serving.ListColumn = { ends, doubles: [], int64s: [], strings: [] };
  if (element === 'DOUBLE') return { ...column, doubles: values.map(Number) };
  if (element === 'STRING') return { ...column, strings: values.map(String) };
  return { ...column, int64s: values.map((value) => BigInt(value)) };
}

/** One value for people: int64 as number when exact, else bigint; null where there is none. */
export function valueAt(matrix: Matrix, row: number, position: number): FeatureValue {
  const feature = matrix.plan.features[position];
  const status = statusAt(matrix, row, position);
  if (!feature || !hasValue(status, feature)) return null;
  switch (feature.block) {
    case Block.DOUBLES: {
      const value = matrix.data.getFloat64(matrix.doublesAt + (row * matrix.plan.doubles + feature.column) * 8, true);
      return Number.isNaN(value) ? null : value;
    }
    case Block.INT64S: {
      const value = matrix.data.getBigInt64(matrix.int64sAt + (row * matrix.plan.int64s + feature.column) * 8, true);
      if (feature.type === 'BOOL') return value !== 0n;
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : value;
    }
    case Block.LISTS:
      return matrix.lists[feature.column]?.[row] ?? null;
    case Block.VECTORS: {
      const bytes = matrix.vectors[feature.column]?.[row] ?? null;
      return bytes && vectorOf(bytes);
    }
    default:
      return matrix.strings[feature.column]?.[row] ?? null;
  }
}

export function statusAt(matrix: Matrix, row: number, position: number): number {
  return matrix.bytes[matrix.statusesAt + row * matrix.plan.features.length + position] ?? 0;
}

/** The last event time that the row of a feature's view reflects, in microseconds; 0 when there is no row. */
export function eventTimeAt(matrix: Matrix, row: number, view: number): number {
  const at = matrix.eventTimesAt[view] ?? -1;
  return at < 0 ? 0 : Number(matrix.data.getBigInt64(at + row * 8, true));
}

/** The stream position that the row of a view reflects; 0 when there is no row, or positions are left out. */
export function positionAt(matrix: Matrix, row: number, view: number): number {
  const at = matrix.positionsAt[view] ?? -1;
  return at < 0 ? 0 : Number(matrix.data.getBigInt64(at + row * 8, true));
}

/** A stale value whose policy takes it away is STALE and null. */
export function hasValue(status: number, feature: PlannedFeature): boolean {
  switch (status) {
    case serving.ValueStatus.PRESENT:
    case serving.ValueStatus.DEFAULTED:
      return true;
    case serving.ValueStatus.STALE:
      return feature.staleAction === 'serve';
    default:
      return false;
  }
}

function optionalSize(length: number): number {
  return length === 0 ? 0 : fieldSize(length);
}
