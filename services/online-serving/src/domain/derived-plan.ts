import type { ServiceShape } from '@millrace/registry';
import { compileDerive } from './derive.ts';
import { Block, type Plan, type PlannedFeature } from './plan.ts';
import { blockOf, encodeFeatures, fallbackOf, staleActions, variableColumns } from './planned-feature.ts';

/** The plan of a service with derived features, hidden ones or request fields, around the plan of what it reads. */
export function derivedPlan(reads: Plan, shape: ServiceShape): Plan {
  const columns = { [Block.DOUBLES]: 0, [Block.INT64S]: 0, [Block.STRINGS]: 0, [Block.LISTS]: 0, [Block.VECTORS]: 0 };
  const viewOf = viewsOf(reads, shape);
  const features = shape.outputs.map(({ name, type, from }, position): PlannedFeature => {
    const block = blockOf(type);
    const place = { name, type, position, block, column: columns[block]++ };
    if (from.t === 'read') return { ...(reads.features[from.at] as PlannedFeature), ...place };
    const reference = shape.steps[from.at]?.reference;
    return {
      ...place,
      view: viewOf(from.at),
      featureIndex: -1,
      movesWithTime: true,
      fallback: reference?.defaultValue ? fallbackOf(reference.defaultValue) : null,
      maxAgeUs: Number.POSITIVE_INFINITY,
      staleAction: staleActions[reference?.staleAction ?? 0],
    };
  });
  const ownOf = (view: number) => features.filter((feature) => feature.view === view && feature.featureIndex >= 0);
  return {
    ...reads,
    features,
    views: reads.views.map((view, index) => ({ ...view, features: ownOf(index) })),
    doubles: columns[Block.DOUBLES],
    int64s: columns[Block.INT64S],
    strings: columns[Block.STRINGS],
    ...variableColumns(features),
    wireFeatures: encodeFeatures(features),
    derivation: { reads, requestFields: shape.requestFields, derive: compileDerive(reads, shape, features) },
  };
}

/** The view that a step rests on, whose age is its age: −1 when it is none, or several. */
function viewsOf(reads: Plan, { steps }: ServiceShape): (step: number) => number {
  const viewsBySteps: ReadonlySet<number>[] = [];
  for (const { inputs } of steps) {
    const views = inputs.flatMap((input) => {
      if (input.t === 'read') return [reads.features[input.at]?.view ?? -1];
      return input.t === 'step' ? [...(viewsBySteps[input.at] ?? [])] : [];
    });
    viewsBySteps.push(new Set(views));
  }
  return (step) => {
    const [view = -1, ...others] = viewsBySteps[step] ?? [];
    return others.length === 0 ? view : -1;
  };
}
