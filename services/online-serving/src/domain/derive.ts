import { serving } from '@millrace/contracts';
import { type FieldType, isListType, isVectorType, type List, type Value } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import type { ServiceShape, ShapeInput } from '@millrace/registry';
import { clear, setStatus, setValue } from './evaluate.ts';
import { hasValue, type Matrix, statusAt } from './matrix.ts';
import { Block, type Derivation, type Fallback, type Plan, type PlannedFeature, type ReadValue } from './plan.ts';
import { fallbackOf, staleActions } from './planned-feature.ts';

const { PRESENT, NULL, NOT_FOUND, STALE, DEFAULTED, UNAVAILABLE, OUT_OF_ROW } = serving.ValueStatus;

/** One derived feature, compiled. */
type Step = {
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
type Frame = {
  source: Matrix;
  request: readonly ReadValue[];
  readonly values: Value[];
  readonly statuses: Uint8Array;
};

/**
 * Derived features of every row, a closure each.
 *
 * Status: a value is STALE when something that it rests on is, else DEFAULTED when something is, else PRESENT, however the expression came to it. No value
 * is UNAVAILABLE, OUT_OF_ROW or NOT_FOUND, in this order, when something that it rests on is that, else NULL.
 */
export function compileDerive(
  reads: Plan,
  shape: ServiceShape,
  outputs: readonly PlannedFeature[],
): Derivation['derive'] {
  const frame: Frame = {
    source: undefined as unknown as Matrix,
    request: [],
    values: new Array<Value>(shape.steps.length).fill(null),
    statuses: new Uint8Array(shape.steps.length),
  };
  const steps = shape.steps.map(({ name, expression, inputs, reference }): Step => {
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
  const copies = shape.outputs.flatMap(({ from }, at) =>
    from.t === 'read' ? [[reads.features[from.at], outputs[at]] as [PlannedFeature, PlannedFeature]] : [],
  );
  const written = shape.outputs.flatMap(({ from }, at) =>
    from.t === 'step' ? [{ step: from.at, feature: outputs[at] as PlannedFeature }] : [],
  );

  return (source, target, request) => {
    frame.source = source;
    frame.request = request;
    copyTimes(source, target);
    for (const [from, to] of copies) copyColumn(source, from, target, to);
    for (let row = 0; row < source.rows; row++) {
      for (let at = 0; at < steps.length; at++) runStep(steps[at] as Step, at, frame, row);
      for (const { step, feature } of written) {
        const value = frame.values[step] ?? null;
        if (value === null) clear(target, feature, row);
        else setValue(target, feature, row, value);
        setStatus(target, feature, row, frame.statuses[step] as number);
      }
    }
  };
}

function runStep(step: Step, at: number, frame: Frame, row: number): void {
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
const ranksMissing = new Uint8Array(8);
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

function readerOf(input: ShapeInput, reads: Plan, frame: Frame): ReadValue {
  switch (input.t) {
    case 'as_of':
      return (row) => BigInt(frame.source.asOfUs[row] as number);
    case 'request':
      return (row) => frame.request[input.at]?.(row) ?? null;
    case 'step':
      return () => frame.values[input.at] ?? null;
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

/** Views are the same on both sides. */
function copyTimes(source: Matrix, target: Matrix): void {
  const offsets = ['eventTimesAt', 'positionsAt', 'knownTimesAt'] as const;
  for (const offset of offsets) {
    for (const [view, from] of source[offset].entries()) {
      const to = target[offset][view] ?? -1;
      if (to >= 0 && from >= 0) source.bytes.copy(target.bytes, to, from, from + source.rows * 8);
    }
  }
}

function copyColumn(source: Matrix, from: PlannedFeature, target: Matrix, to: PlannedFeature): void {
  const isDouble = from.block === Block.DOUBLES;
  const [fromAt, fromWidth] = isDouble
    ? [source.doublesAt, source.plan.doubles]
    : [source.int64sAt, source.plan.int64s];
  const [toAt, toWidth] = isDouble ? [target.doublesAt, target.plan.doubles] : [target.int64sAt, target.plan.int64s];
  const [texts, ownTexts] = [source.strings[from.column], target.strings[to.column]];
  const [lists, ownLists] = [source.lists[from.column], target.lists[to.column]];
  const [vectors, ownVectors] = [source.vectors[from.column], target.vectors[to.column]];
  for (let row = 0; row < source.rows; row++) {
    setStatus(target, to, row, statusAt(source, row, from.position));
    if (from.block === Block.STRINGS) {
      if (texts && ownTexts) ownTexts[row] = texts[row] as string;
      continue;
    }
    if (from.block === Block.LISTS) {
      if (lists && ownLists) ownLists[row] = lists[row] as List;
      continue;
    }
    if (from.block === Block.VECTORS) {
      if (vectors && ownVectors) ownVectors[row] = vectors[row] ?? null;
      continue;
    }
    const at = fromAt + (row * fromWidth + from.column) * 8;
    const place = toAt + (row * toWidth + to.column) * 8;
    target.data.setUint32(place, source.data.getUint32(at, true), true);
    target.data.setUint32(place + 4, source.data.getUint32(at + 4, true), true);
  }
}
