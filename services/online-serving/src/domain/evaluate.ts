import { serving } from '@millrace/contracts';
import { type FeatureValue, type List, vectorBytes } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import type { Matrix } from './matrix.ts';
import { Block, type PlannedFeature, type PlannedView } from './plan.ts';

const { PRESENT, NULL, NOT_FOUND, STALE, DEFAULTED, UNAVAILABLE, OUT_OF_ROW } = serving.ValueStatus;

/** A row as the store answered it: its bytes, or null when there is none. */
export type StoredRow = DataView | null;

/** A row whose read time lies before its first step. */
export type MissedRow = { readonly row: number; readonly position: number; readonly lastEventTimeUs: number };

/**
 * Fills in the values of one view in one row of the answer. Returns what is known of a stored row that does not reach back to its read
 * time; its values are OUT_OF_ROW. `cursor` is scratch of the view's reader.
 */
export function evaluateRow(
  matrix: Matrix,
  view: PlannedView,
  viewIndex: number,
  row: number,
  stored: StoredRow,
  cursor: Int32Array,
): MissedRow | undefined {
  if (stored === null) {
    fillMissing(matrix, view, row);
    return undefined;
  }
  const { reader } = view;
  const asOfUs = matrix.asOfUs[row] as number;
  const lastEventTimeUs = reader.lastEventTimeUs(stored);
  writeTimes(matrix, view, viewIndex, row, stored);
  if (!reader.locate(stored, asOfUs, cursor)) {
    fillStatus(matrix, view, row, OUT_OF_ROW);
    return { row, position: reader.position(stored), lastEventTimeUs };
  }
  fillRow(matrix, view, row, stored, cursor, asOfUs - lastEventTimeUs);
  return undefined;
}

/** Marks the values of one view in one row: the store did not answer in time. */
export function markUnavailable(matrix: Matrix, view: PlannedView, row: number): void {
  fillStatus(matrix, view, row, UNAVAILABLE);
}

/** Fills in the values of one view in one row whose key has no value, for the reason that `status` says. */
export function fillUnkeyed(matrix: Matrix, view: PlannedView, row: number, status: number): void {
  if (status === NOT_FOUND) fillMissing(matrix, view, row);
  else fillStatus(matrix, view, row, status);
}

function fillRow(
  matrix: Matrix,
  view: PlannedView,
  row: number,
  stored: DataView,
  cursor: Int32Array,
  ageUs: number,
): void {
  const { reader, features } = view;
  const { bytes, data, plan, statusCounts } = matrix;
  const statusesAt = matrix.statusesAt + row * plan.features.length;
  const doublesAt = matrix.doublesAt + row * plan.doubles * 8;
  const int64sAt = matrix.int64sAt + row * plan.int64s * 8;
  const mayBeStale = ageUs > view.maxAgeUsMin;
  for (let i = 0; i < features.length; i++) {
    const feature = features[i] as PlannedFeature;
    if (mayBeStale && ageUs > feature.maxAgeUs && feature.staleAction !== 'serve') {
      fillStale(matrix, view, feature, row, ageUs);
      continue;
    }
    if (reader.isNull(stored, cursor, feature.featureIndex)) {
      fillNull(matrix, feature, row, NULL);
      continue;
    }
    if (feature.block === Block.DOUBLES) {
      const value = feature.movesWithTime
        ? reader.f64At(stored, cursor, feature.featureIndex, matrix.asOfUs[row] as number)
        : reader.f64(stored, cursor, feature.featureIndex);
      data.setFloat64(doublesAt + feature.column * 8, value, true);
    } else if (feature.block === Block.INT64S) {
      reader.copyI64(stored, cursor, feature.featureIndex, data, int64sAt + feature.column * 8);
    } else if (feature.block === Block.STRINGS) {
      setText(matrix, feature, row, reader.string(stored, cursor, feature.featureIndex));
    } else if (feature.block === Block.LISTS) {
      setList(matrix, feature, row, reader.list(stored, cursor, feature.featureIndex));
    } else {
      setVector(matrix, feature, row, reader.vector(stored, cursor, feature.featureIndex));
    }
    const status = mayBeStale && ageUs > feature.maxAgeUs ? STALE : PRESENT;
    bytes[statusesAt + feature.position] = status;
    statusCounts[status] = (statusCounts[status] as number) + 1;
  }
}

/** Fills in a view's row with values that were computed from history, by the same policies. */
export function fillFromHistory(
  matrix: Matrix,
  view: PlannedView,
  row: number,
  values: ReadonlyMap<string, FeatureValue>,
  lastEventTimeUs: number,
): void {
  const ageUs = (matrix.asOfUs[row] as number) - lastEventTimeUs;
  for (const feature of view.features) {
    matrix.statusCounts[OUT_OF_ROW] = (matrix.statusCounts[OUT_OF_ROW] as number) - 1;
    const name = view.definition.features[feature.featureIndex]?.name ?? '';
    const value = values.get(name) ?? null;
    if (ageUs > feature.maxAgeUs && feature.staleAction !== 'serve') fillStale(matrix, view, feature, row, ageUs);
    else if (value === null) fillNull(matrix, feature, row, NULL);
    else {
      setValue(matrix, feature, row, value);
      setStatus(matrix, feature, row, ageUs > feature.maxAgeUs ? STALE : PRESENT);
    }
  }
}

/** The same where history has no event of the entity before the read time: as of then it had no row. */
export function fillAbsent(matrix: Matrix, view: PlannedView, viewIndex: number, row: number): void {
  matrix.statusCounts[OUT_OF_ROW] = (matrix.statusCounts[OUT_OF_ROW] as number) - view.features.length;
  setEventTime(matrix, viewIndex, row, 0);
  fillMissing(matrix, view, row);
}

/** Puts the last event time as of the read time in place of that of the row. */
export function setEventTime({ eventTimesAt, data }: Matrix, viewIndex: number, row: number, timeUs: number): void {
  const at = eventTimesAt[viewIndex] as number;
  if (at >= 0) writeInt64(data, at + row * 8, timeUs);
}

function fillStale(matrix: Matrix, view: PlannedView, feature: PlannedFeature, row: number, ageUs: number): void {
  if (feature.staleAction === 'fail') {
    throw new MeshError(
      'FEATURE_STALE',
      `feature "${feature.name}" of row ${row} is ${Math.round(ageUs / 1000)} ms old, beyond its max_age of ${feature.maxAgeUs / 1000} ms; its policy is to fail`,
      { feature: feature.name, featureView: view.name, row, ageUs, maxAgeUs: feature.maxAgeUs },
    );
  }
  if (feature.staleAction === 'default' && feature.fallback) fillNull(matrix, feature, row, DEFAULTED);
  else {
    clear(matrix, feature, row);
    setStatus(matrix, feature, row, STALE);
  }
}

function fillMissing(matrix: Matrix, view: PlannedView, row: number): void {
  for (const feature of view.features) fillNull(matrix, feature, row, NOT_FOUND);
}

function fillStatus(matrix: Matrix, view: PlannedView, row: number, status: number): void {
  for (const feature of view.features) {
    clear(matrix, feature, row);
    setStatus(matrix, feature, row, status);
  }
}

/** The default where there is one, else null with `status`. */
function fillNull(matrix: Matrix, feature: PlannedFeature, row: number, status: number): void {
  if (!feature.fallback) {
    clear(matrix, feature, row);
    setStatus(matrix, feature, row, status);
    return;
  }
  const { double, int64, text } = feature.fallback;
  setValue(matrix, feature, row, [double, int64, text][feature.block - 1] ?? null);
  setStatus(matrix, feature, row, DEFAULTED);
}

export function clear(matrix: Matrix, feature: PlannedFeature, row: number): void {
  if (feature.block === Block.DOUBLES) setValue(matrix, feature, row, Number.NaN);
}

export function setValue(matrix: Matrix, feature: PlannedFeature, row: number, value: FeatureValue): void {
  const { plan, data } = matrix;
  if (typeof value === 'object' && value !== null) {
    if (feature.block === Block.VECTORS) setVector(matrix, feature, row, vectorBytes(value));
    else setList(matrix, feature, row, value);
  } else if (feature.block === Block.DOUBLES) {
    data.setFloat64(matrix.doublesAt + (row * plan.doubles + feature.column) * 8, Number(value), true);
  } else if (feature.block === Block.INT64S) {
    data.setBigInt64(matrix.int64sAt + (row * plan.int64s + feature.column) * 8, BigInt(value ?? 0), true);
  } else setText(matrix, feature, row, String(value));
}

function setList(matrix: Matrix, feature: PlannedFeature, row: number, value: List): void {
  const column = matrix.lists[feature.column];
  if (column) column[row] = value;
}

function setVector(matrix: Matrix, feature: PlannedFeature, row: number, value: Uint8Array): void {
  const column = matrix.vectors[feature.column];
  if (column) column[row] = value;
}

function setText(matrix: Matrix, feature: PlannedFeature, row: number, value: string): void {
  const column = matrix.strings[feature.column];
  if (column) column[row] = value;
}

export function setStatus(matrix: Matrix, feature: PlannedFeature, row: number, status: number): void {
  matrix.bytes[matrix.statusesAt + row * matrix.plan.features.length + feature.position] = status;
  matrix.statusCounts[status] = (matrix.statusCounts[status] as number) + 1;
}

function writeTimes(matrix: Matrix, { reader }: PlannedView, view: number, row: number, stored: DataView): void {
  const eventTimesAt = matrix.eventTimesAt[view] as number;
  if (eventTimesAt < 0) return;
  writeInt64(matrix.data, eventTimesAt + row * 8, reader.lastEventTimeUs(stored));
  writeInt64(matrix.data, (matrix.positionsAt[view] as number) + row * 8, reader.position(stored));
  writeInt64(matrix.data, (matrix.knownTimesAt[view] as number) + row * 8, reader.knownTimeUs(stored));
}

/** A safe integer as 8 little-endian bytes, without the cost of a bigint. */
function writeInt64(data: DataView, at: number, value: number): void {
  data.setUint32(at, value >>> 0, true);
  data.setInt32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}
