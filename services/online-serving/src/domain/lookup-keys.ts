import { serving } from '@millrace/contracts';
import type { Scalar, ViewDefinition } from '@millrace/features';
import { restsOn, type ServiceShape, type ShapeInput, type ShapeLookup } from '@millrace/registry';
import { statusAt } from './matrix.ts';
import type { LookupKey, Plan, PlannedLookup } from './plan.ts';
import { compileSteps, type Frame, newFrame, ranksMissing, readerOf, runStep, type Step } from './steps.ts';

/** Lookups by their level; `views` are those that each reads, with their places in the plan. */
export function compileLookups(
  reads: Plan,
  shape: ServiceShape,
  views: readonly (readonly { readonly index: number; readonly definition: ViewDefinition }[])[],
): readonly (readonly PlannedLookup[])[] {
  const frame = newFrame(shape);
  const steps = compileSteps(reads, shape, frame);
  const levels: PlannedLookup[][] = [];
  for (const [at, lookup] of shape.lookups.entries()) {
    const own = views[at] ?? [];
    const entity = {
      name: lookup.entity,
      keys: [],
      views: own.map(({ index }) => index),
      versions: own.map(({ definition: { name, version } }) => ({ view: name, version })),
    };
    const level = levels[lookup.level - 1] ?? [];
    levels[lookup.level - 1] = level;
    level.push({ entity, keysOf: compileKeys(lookup, reads, shape, steps, frame) });
  }
  return levels;
}

function compileKeys(
  { keys }: ShapeLookup,
  reads: Plan,
  shape: ServiceShape,
  steps: readonly Step[],
  frame: Frame,
): PlannedLookup['keysOf'] {
  const inputs = keys.map(({ input }) => input);
  const needed = [...restsOn(shape.steps, inputs).steps].sort((a, b) => a - b);
  const readers = inputs.map((input) => readerOf(input, reads, frame));
  return (source, request, bound) => {
    frame.source = source;
    frame.request = request;
    frame.keys = bound;
    const found = new Array<LookupKey>(source.rows);
    for (let row = 0; row < source.rows; row++) {
      for (const at of needed) runStep(steps[at] as Step, at, frame, row);
      const values = readers.map((reader) => reader(row));
      found[row] = values.includes(null) ? statusWithout(inputs, frame, row) : (values as Exclude<Scalar, null>[]);
    }
    return found;
  };
}

/** A key that was not read in time, or that lies before its row, says nothing of what it would have found; any other lack of a key means that there is nothing. */
function statusWithout(inputs: readonly ShapeInput[], { source, statuses }: Frame, row: number): number {
  let worst: number = serving.ValueStatus.NOT_FOUND;
  for (const input of inputs) {
    const status =
      input.t === 'read' ? statusAt(source, row, input.at) : input.t === 'step' ? (statuses[input.at] ?? 0) : 0;
    if ((ranksMissing[status] ?? 0) > (ranksMissing[worst] ?? 0)) worst = status;
  }
  return worst;
}
