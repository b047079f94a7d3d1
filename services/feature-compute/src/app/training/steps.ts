import type { definitions } from '@millrace/contracts';
import { type FeatureDefinition, isRangeable, type ViewDefinition, valueOfNothing } from '@millrace/features';
import type { ServiceShape } from '@millrace/registry';
import { sqlName } from '../sql.ts';
import type { StepPlan } from './steps-sql.ts';

const ofRow = { field: '', window: { t: 'lifetime' }, filter: '', ddof: 1 } as const;
/** How many events an entity had: 0 where it would have had no row. */
export const rowEvents: FeatureDefinition = { ...ofRow, name: 'millrace_row_events', function: 'count' };
/** How old its row would have been, in seconds; null where it would have had none. */
export const rowAge: FeatureDefinition = { ...ofRow, name: 'millrace_row_age', function: 'age' };

/** A step whose values are in a table. */
export type FilledStep = { readonly plan: StepPlan; readonly target: string };

/**
 * What is computed together: of each view, and of each lookup that finds its rows, the features that ranges can say, then those that only a join says,
 * then, where something goes by it, whether there was a row, or its age. Lookups come after what they rest on.
 */
export function planSteps(
  views: readonly ViewDefinition[],
  shape: Pick<ServiceShape, 'reads' | 'lookups' | 'lookupOfRead'>,
  options: { readonly withStatuses: boolean },
): readonly StepPlan[] {
  return [-1, ...shape.lookups.keys()].flatMap((lookup) => {
    const own = shape.reads.filter((_, at) => shape.lookupOfRead[at] === lookup);
    return views.flatMap((view) => {
      const references = own.filter((each) => each.view === view.name && each.viewVersion === view.version);
      return references.length === 0 ? [] : planView(view, lookup, references, options);
    });
  });
}

function planView(
  view: ViewDefinition,
  lookup: number,
  references: readonly definitions.FeatureReference[],
  options: { readonly withStatuses: boolean },
): readonly StepPlan[] {
  const wanted = new Set(references.map(({ feature }) => feature));
  const asked = view.features.filter(({ name }) => wanted.has(name));
  const plans = [true, false].flatMap((byRanges): StepPlan[] => {
    const together = asked.filter(({ name }) => isRangeable(view, name) === byRanges);
    return together.length === 0 ? [] : [{ t: 'values', byRanges, view: { ...view, features: together }, lookup }];
  });
  // a window without end reads all of history, so it has a step of its own
  if (references.some(hasMaxAge))
    return [...plans, { t: 'age', byRanges: false, view: { ...view, features: [rowAge] }, lookup }];
  if (!options.withStatuses && !asked.some((feature) => valueOfNothing(feature) === 0)) return plans;
  return [
    ...plans,
    { t: 'seen', byRanges: view.changes === undefined, view: { ...view, features: [rowEvents] }, lookup },
  ];
}

/** Whether a step is of the rows that a read is found in. */
export function isOfRead(
  plan: StepPlan,
  { reads, lookupOfRead }: Pick<ServiceShape, 'reads' | 'lookupOfRead'>,
  at: number,
): boolean {
  const { view, viewVersion } = reads[at] as definitions.FeatureReference;
  return plan.view.name === view && plan.view.version === viewVersion && plan.lookup === lookupOfRead[at];
}

function hasMaxAge({ maxAgeUs }: definitions.FeatureReference): boolean {
  return maxAgeUs > 0n;
}

/** The labels for which a view's steps found nothing: only of those it is asked whether the entity had a row. */
export function nothingFound({ view, lookup }: StepPlan, filled: readonly FilledStep[]): string {
  const conditions = filled
    .filter(({ plan }) => plan.t === 'values' && plan.lookup === lookup)
    .filter(({ plan }) => plan.view.name === view.name && plan.view.version === view.version)
    .map(({ plan, target }) => {
      const empty = plan.view.features.flatMap((feature) => {
        const nothing = valueOfNothing(feature);
        if (Array.isArray(nothing)) return [];
        return nothing === null ? [`isNull(${sqlName(feature.name)})`] : [`${sqlName(feature.name)} = 0`];
      });
      return `sample_id IN (SELECT sample_id FROM ${sqlName(target)} WHERE ${['1', ...empty].join(' AND ')})`;
    });
  return conditions.join(' AND ');
}
