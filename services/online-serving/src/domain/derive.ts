import type { List } from '@millrace/features';
import type { ServiceShape } from '@millrace/registry';
import { clear, setStatus, setValue } from './evaluate.ts';
import { type Matrix, statusAt } from './matrix.ts';
import { Block, type Derivation, type Plan, type PlannedFeature } from './plan.ts';
import { compileSteps, newFrame, runStep, type Step } from './steps.ts';

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
  const frame = newFrame(shape);
  const steps = compileSteps(reads, shape, frame);
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

/** Views are the same on both sides. */
function copyTimes(source: Matrix, target: Matrix): void {
  for (const [view, keys] of source.lookupKeys ?? []) target.lookupKeys?.set(view, keys);
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
