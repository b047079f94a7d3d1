import { serving } from '@millrace/contracts';
import type { Matrix } from '../domain/matrix.ts';
import type { PlannedFeature } from '../domain/plan.ts';

const { PRESENT, NULL, NOT_FOUND, STALE, DEFAULTED } = serving.ValueStatus;

/** feast.serving.FieldStatus, by its numbers. */
export const FieldStatus = { INVALID: 0, PRESENT: 1, NULL_VALUE: 2, NOT_FOUND: 3, OUTSIDE_MAX_AGE: 4 } as const;

/** FieldStatus of a ValueStatus. Feast has no word for a default, and none for what could not be read. */
export const fieldStatuses: Uint8Array = new Uint8Array(16);
fieldStatuses[PRESENT] = FieldStatus.PRESENT;
fieldStatuses[DEFAULTED] = FieldStatus.PRESENT;
fieldStatuses[NULL] = FieldStatus.NULL_VALUE;
fieldStatuses[NOT_FOUND] = FieldStatus.NOT_FOUND;
fieldStatuses[STALE] = FieldStatus.OUTSIDE_MAX_AGE;

/** For each ValueStatus 1 when the feature then has a value: a stale one has when its policy serves it. */
export function valuedStatuses(feature: PlannedFeature): Uint8Array {
  return feature.staleAction === 'serve' ? valuedWhenServed : valuedElse;
}

const valuedElse = new Uint8Array(16);
valuedElse[PRESENT] = 1;
valuedElse[DEFAULTED] = 1;
const valuedWhenServed = Uint8Array.from(valuedElse);
valuedWhenServed[STALE] = 1;

/** The last event time of a view's row in microseconds; 0 when there is no row. */
export function eventTimeUs(matrix: Matrix, view: number, row: number): number {
  const at = (matrix.eventTimesAt[view] as number) + row * 8;
  return matrix.data.getInt32(at + 4, true) * 0x1_0000_0000 + matrix.data.getUint32(at, true);
}

/** Microseconds → whole seconds, downwards. */
export function floorSeconds(timeUs: bigint): bigint {
  const seconds = timeUs / 1_000_000n;
  return timeUs < 0n && seconds * 1_000_000n !== timeUs ? seconds - 1n : seconds;
}
