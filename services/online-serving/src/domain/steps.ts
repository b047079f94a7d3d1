import { serving } from '@millrace/contracts';
import { type FieldType, isListType, isVectorType, type Value } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import type { ServiceShape, ShapeInput } from '@millrace/registry';
import { hasValue, type Matrix, statusAt } from './matrix.ts';
import type { Fallback, KeyColumns, Plan, PlannedFeature, ReadValue } from './plan.ts';
import { fallbackOf, staleActions } from './planned-feature.ts';

const { PRESENT, NULL, NOT_FOUND, STALE, DEFAULTED, UNAVAILABLE, OUT_OF_ROW } = serving.ValueStatus;

/** One derived feature, compiled. */
export type Step = {
  readonly evaluate: ReadValue;
  /** The places of the reads, and of the earlier steps, that it rests on. */
  readonly reads: readonly number[];
  readonly steps: readonly number[];
  readonly type: FieldType;
  readonly fallback: Fallback | null;
  readonly staleAction: PlannedFeature['staleAction'];
  readonly name: string;
};

/** What closures read: set before they are called, never across an await. */
export type Frame = {
  source: Matrix;
  request: readonly ReadValue[];
  /** Of the request, for lookups; no expression uses them. */
  keys: KeyColumns;
  readonly values: Value[];
  readonly statuses: Uint8Array;
};

export function newFrame({ steps }: ServiceShape): Frame {
  return {
    source: undefined as unknown as Matrix,
    request: [],
    keys: [],
    values: new Array<Value>(steps.length).fill(null),
    statuses: new Uint8Array(steps.length),
  };
}

/** The derived features of a service, in an order in which each comes after those that it uses. */
export function compileSteps(reads: Plan, shape: ServiceShape, frame: Frame): readonly Step[] {
  return shape.steps.map(({ name, expression, inputs, reference }): Step => {
    const inputOf = new Map(expression.uses.map((use, at) => [use, inputs[at] as ShapeInput]));
    return {
      name,
      evaluate: expression.bind((use) => readerOf(inputOf.get(use) as ShapeInput, reads, frame)),
      reads: inputs.flatMap((input) => (input.t === 'read' ? [input.at] : [])),
      steps: inputs.flatMap((input) => (input.t === 'step' ? [input.at] : [])),
      type: expression.type,
      fallback: reference?.defaultValue ? fallbackOf(reference.defaultValue) : null,
      staleAction: staleActions[reference?.staleAction ?? 0],
    };
  });
}

export function runStep(step: Step, at: number, frame: Frame, row: number): void {
  const value = step.evaluate(row);
  const status = statusOf(step, frame, row, value !== null);
  frame.values[at] = value;
  frame.statuses[at] = status;
  if (status === STALE && step.staleAction !== 'serve') applyStale(step, at, frame, row);
  else if (step.fallback && (status === NULL || status === NOT_FOUND)) applyDefault(step, step.fallback, at, frame);
}

function statusOf(step: Step, { source, statuses }: Frame, row: number, isThere: boolean): number {
  let worst: number = isThere ? PRESENT : NULL;
  const ranks = isThere ? ranksThere : ranksMissing;
  for (const read of step.reads) {
    const status = statusAt(source, row, read);
    if ((ranks[status] as number) > (ranks[worst] as number)) worst = status;
  }
  for (const earlier of step.steps) {
    const status = statuses[earlier] as number;
    if ((ranks[status] as number) > (ranks[worst] as number)) worst = status;
  }
  return worst;
}

const ranksThere = new Uint8Array(8);
ranksThere[DEFAULTED] = 1;
ranksThere[STALE] = 2;
export const ranksMissing = new Uint8Array(8);
ranksMissing[NOT_FOUND] = 1;
ranksMissing[OUT_OF_ROW] = 2;
ranksMissing[UNAVAILABLE] = 3;

function applyStale(step: Step, at: number, frame: Frame, row: number): void {
  if (step.staleAction === 'fail')
    throw new MeshError(
      'FEATURE_STALE',
      `derived feature "${step.name}" of row ${row} rests on a value that is beyond its max_age; its policy is to fail`,
      { feature: step.name, row },
    );
  if (step.staleAction === 'default' && step.fallback) applyDefault(step, step.fallback, at, frame);
  else frame.values[at] = null;
}

function applyDefault({ type }: Step, { double, int64, text }: Fallback, at: number, frame: Frame): void {
  frame.statuses[at] = DEFAULTED;
  frame.values[at] = type === 'DOUBLE' ? double : type === 'STRING' ? text : type === 'BOOL' ? int64 !== 0n : int64;
}

export function readerOf(input: ShapeInput, reads: Plan, frame: Frame): ReadValue {
  switch (input.t) {
    case 'as_of':
      return (row) => BigInt(frame.source.asOfUs[row] as number);
    case 'request':
      return (row) => frame.request[input.at]?.(row) ?? null;
    case 'step':
      return () => frame.values[input.at] ?? null;
    case 'key': {
      const at = reads.keys.findIndex(({ name }) => name === input.name);
      return (row) => toValue(frame.keys[at]?.[row]);
    }
    case 'read':
      return columnReader(reads.features[input.at] as PlannedFeature, frame);
    default:
      return input satisfies never;
  }
}

/** A null double is NaN, and what is not finite is no value in an expression; of the others the status tells. */
function columnReader(feature: PlannedFeature, frame: Frame): ReadValue {
  const { column, position, type } = feature;
  const isThere = (row: number) => hasValue(statusAt(frame.source, row, position), feature);
  const integer = ({ source }: Frame, row: number) =>
    source.data.getBigInt64(source.int64sAt + (row * source.plan.int64s + column) * 8, true);
  // no expression takes a list or a vector
  if (isListType(type) || isVectorType(type)) return () => null;
  switch (type) {
    case 'DOUBLE':
      return (row) => {
        const { source } = frame;
        const value = source.data.getFloat64(source.doublesAt + (row * source.plan.doubles + column) * 8, true);
        return Number.isFinite(value) ? value : null;
      };
    case 'INT64':
    case 'TIMESTAMP':
      return (row) => (isThere(row) ? integer(frame, row) : null);
    case 'BOOL':
      return (row) => (isThere(row) ? integer(frame, row) !== 0n : null);
    case 'STRING':
      return (row) => (isThere(row) ? (frame.source.strings[column]?.[row] ?? null) : null);
    default:
      return type satisfies never;
  }
}

/** Keys come as numbers too; expressions have bigints. */
function toValue(key: KeyColumns[number][number] | undefined): Value {
  return typeof key === 'number' ? BigInt(key) : (key ?? null);
}
