import type { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { sqlLiteral, sqlName } from '../sql.ts';
import type { Labels } from './labels.ts';
import { seenFeature } from './steps.ts';
import type { StepPlan } from './steps-sql.ts';

export type SetParts = {
  readonly labels: Labels;
  readonly steps: readonly { readonly plan: StepPlan; readonly target: string }[];
  readonly features: readonly definitions.FeatureReference[];
  readonly withStatuses: boolean;
  /** The table with the sides of splits and its columns. */
  readonly split: { readonly table: string; readonly columns: readonly string[] } | undefined;
};

/** The name of a feature in the set. */
export function columnName({ alias, view, feature }: definitions.FeatureReference): string {
  return alias === '' ? `${view}__${feature}` : alias;
}

/** Label columns, the features under the names of the feature service with its defaults and, if asked for, statuses, then the sides of splits. */
export function setSql(table: string, { labels, steps, features, withStatuses, split }: SetParts): string {
  const names = [...labels.columns.map(({ name }) => name), ...features.map(columnName), ...(split?.columns ?? [])];
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `two columns of the training set are named "${twice}"; rename the label column or give the feature an alias`,
      { column: twice },
    );
  const stepOf = (reference: definitions.FeatureReference, feature: string) => {
    const at = steps.findIndex(
      ({ plan: { view } }) =>
        view.name === reference.view &&
        view.version === reference.viewVersion &&
        view.features.some(({ name }) => name === feature),
    );
    return `s${at}.${sqlName(feature)}`;
  };
  const carried = labels.columns.map(({ name }) => `l.${sqlName(name)} AS ${sqlName(name)}`);
  const values = features.flatMap((reference) => {
    const column = stepOf(reference, reference.feature);
    const fallback = reference.defaultValue?.kind;
    const value = fallback === undefined ? column : `ifNull(${column}, ${sqlLiteral(fallback.value)})`;
    const name = columnName(reference);
    if (!withStatuses) return [`${value} AS ${sqlName(name)}`];
    const seen = `${stepOf(reference, seenFeature.name)} > 0`;
    const without = fallback === undefined ? `if(${seen}, 'NULL', 'NOT_FOUND')` : `'DEFAULTED'`;
    const status = `if(isNull(${column}) OR NOT (${seen}), ${without}, 'PRESENT')`;
    return [`${value} AS ${sqlName(name)}`, `${status} AS ${sqlName(`${name}__status`)}`];
  });
  const sides = split?.columns.map((name) => `t.${sqlName(name)} AS ${sqlName(name)}`) ?? [];
  const joins = steps.map(
    ({ target }, at) => `LEFT JOIN ${sqlName(target)} AS s${at} ON l.sample_id = s${at}.sample_id`,
  );
  if (split) joins.push(`LEFT JOIN ${sqlName(split.table)} AS t ON l.sample_id = t.sample_id`);
  return `CREATE TABLE ${sqlName(table)} ENGINE = MergeTree ORDER BY sample_id AS
    SELECT l.sample_id AS sample_id, ${[...carried, ...values, ...sides].join(', ')} FROM ${sqlName(labels.table)} AS l ${joins.join(' ')}`;
}

/** The set in its order. */
export function exportSql(table: string): string {
  return `SELECT * EXCEPT (sample_id) FROM ${sqlName(table)} ORDER BY sample_id`;
}
