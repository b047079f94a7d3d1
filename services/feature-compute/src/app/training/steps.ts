import type { definitions } from '@millrace/contracts';
import { type FeatureDefinition, isRangeable, type ViewDefinition, valueOfNothing } from '@millrace/features';
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
 * What is computed together: of each view the features that ranges can say, then those that only a join says, then, where something goes by it,
 * whether there was a row, or its age.
 */
export function planSteps(
  views: readonly ViewDefinition[],
  features: readonly definitions.FeatureReference[],
  options: { readonly withStatuses: boolean },
): readonly StepPlan[] {
  return views.flatMap((view) => {
    const references = features.filter((each) => each.view === view.name && each.viewVersion === view.version);
    const wanted = new Set(references.map(({ feature }) => feature));
    const asked = view.features.filter(({ name }) => wanted.has(name));
    const plans = [true, false].flatMap((byRanges): StepPlan[] => {
      const together = asked.filter(({ name }) => isRangeable(view, name) === byRanges);
      return together.length === 0 ? [] : [{ t: 'values', byRanges, view: { ...view, features: together } }];
    });
    // a window without end reads all of history, so it has a step of its own
    if (references.some(hasMaxAge))
      return [...plans, { t: 'age', byRanges: false, view: { ...view, features: [rowAge] } }];
    if (!options.withStatuses && !asked.some((feature) => valueOfNothing(feature) === 0)) return plans;
    return [...plans, { t: 'seen', byRanges: true, view: { ...view, features: [rowEvents] } }];
  });
}

function hasMaxAge({ maxAgeUs }: definitions.FeatureReference): boolean {
  return maxAgeUs > 0n;
}

/** The labels for which a view's steps found nothing: only of those it is asked whether the entity had a row. */
export function nothingFound(view: ViewDefinition, filled: readonly FilledStep[]): string {
  const conditions = filled
    .filter(({ plan }) => plan.t === 'values' && plan.view.name === view.name && plan.view.version === view.version)
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
