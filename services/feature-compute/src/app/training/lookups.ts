import type { ViewDefinition } from '@millrace/features';
import type { History } from '@millrace/history';
import { restsOn, type ServiceShape, type ShapeLookup } from '@millrace/registry';
import { sqlName, sqlType } from '../sql.ts';
import { asOf, inputSql, joinKey, requestSql, withSteps } from './derived-sql.ts';
import { type FillOptions, fillSamples, fillSteps } from './fill-steps.ts';
import { joinedReads, readSql, type SetParts } from './set-sql.ts';
import type { FilledStep } from './steps.ts';

export type LevelsOptions = Omit<FillOptions, 'samples'> & { readonly allowedDelayUs: number };

/**
 * Fills the steps level by level: first those of the labels' own keys, then those of lookups, whose keys are the values of the levels before as of
 * the label's time, read once for each label. Gives the step that is not yet done whenever that changes.
 */
export async function* fillLevels(
  history: History,
  parts: Omit<SetParts, 'split' | 'withStatuses'>,
  views: readonly ViewDefinition[],
  options: LevelsOptions,
  table: (name: string) => string,
  signal: AbortSignal,
): AsyncGenerator<FilledStep> {
  const { shape, steps, keys, labels } = parts;
  const levels = Math.max(0, ...shape.lookups.map(({ level }) => level));
  for (let level = 0; level <= levels; level++) {
    const lookups = level === 0 ? [-1] : [...shape.lookups.keys()].filter((at) => shape.lookups[at]?.level === level);
    const samples = new Map<number, ReadonlyMap<string, string>>();
    for (const lookup of lookups) {
      const keyTable = keys[lookup];
      if (keyTable !== undefined) await history.command(keysSql(keyTable, lookup, parts));
      const own = viewsOf(lookup, shape, views);
      const joinKeys = [...new Map(own.flatMap((view) => view.joinKeys).map((key) => [key.name, key])).values()];
      const cutoffs = new Map(own.map(({ source }) => [source, options.cutoffs.get(source) ?? 0]));
      const placed = { ...options, labels: keyTable ?? labels.table, joinKeys, cutoffs };
      samples.set(lookup, await fillSamples(history, placed, (name) => table(`${name}_of_${lookup + 1}`)));
    }
    const own = steps.filter(({ plan }) => lookups.includes(plan.lookup));
    for await (const at of fillSteps(history, own, { ...options, samples }, signal)) yield own[at] as FilledStep;
  }
}

/** The views that a lookup reads; of −1, those that are read by the labels' own keys. */
export function viewsOf(
  lookup: number,
  { reads, lookupOfRead }: ServiceShape,
  views: readonly ViewDefinition[],
): readonly ViewDefinition[] {
  return views.filter(({ name, version }) =>
    reads.some((each, at) => each.view === name && each.viewVersion === version && lookupOfRead[at] === lookup),
  );
}

/** A table of the labels for which a lookup has a key, in place of the labels themselves. */
function keysSql(table: string, lookup: number, parts: Omit<SetParts, 'split' | 'withStatuses'>): string {
  const { shape, labels } = parts;
  const { keys } = shape.lookups[lookup] as ShapeLookup;
  const inputs = keys.map(({ input }) => input);
  const needed = restsOn(shape.steps, inputs);
  const given = [
    'l.sample_id AS sample_id',
    'l.label_time AS label_time',
    `toUnixTimestamp64Micro(l.label_time) AS ${asOf}`,
    ...shape.requestFields.map((field, at) => requestSql(field, at, labels.columns)),
    ...inputs.flatMap((input) => (input.t === 'key' ? [`l.${sqlName(input.name)} AS ${joinKey(input.name)}`] : [])),
    ...[...needed.reads].flatMap((at) => readSql(at, { ...parts, withStatuses: false })),
  ];
  const inner = `SELECT ${given.join(', ')} FROM ${joinedReads(parts, (at) => needed.reads.has(at))}`;
  const columns = keys.map(({ name, type, input }) => {
    const value = `CAST(${inputSql(input, shape.readTypes)} AS Nullable(${sqlType(type)}))`;
    return { name: sqlName(name), value, isNull: `isNull(${inputSql(input, shape.readTypes)})`, type: sqlType(type) };
  });
  return `CREATE TABLE ${sqlName(table)} ENGINE = MergeTree ORDER BY sample_id AS
    SELECT sample_id, label_time, ${columns.map(({ name, value, type }) => `ifNull(${value}, defaultValueOfTypeName('${type}')) AS ${name}`).join(', ')}
    FROM (${withSteps(inner, shape, false, needed.steps)}) WHERE NOT (${columns.map(({ isNull }) => isNull).join(' OR ')})`;
}
