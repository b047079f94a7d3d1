import { definitions } from '@millrace/contracts';
import { isListType, isVectorType } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import type { ServiceShape } from '@millrace/registry';
import { sqlName } from '../sql.ts';
import { asOf, defaultSql, read, readStatus, requestSql, step, stepStatus, withSteps } from './derived-sql.ts';
import type { Labels } from './labels.ts';
import { type FilledStep, isOfRead, rowAge, rowEvents } from './steps.ts';

export type SetParts = {
  readonly labels: Labels;
  readonly steps: readonly FilledStep[];
  readonly shape: ServiceShape;
  /** For each lookup the table with its keys: of labels that have none it has no row. */
  readonly keys: readonly string[];
  readonly withStatuses: boolean;
  /** The table with the sides of splits and its columns. */
  readonly split: { readonly table: string; readonly columns: readonly string[] } | undefined;
};

/**
 * Label columns, the answers of the feature service under their names with its defaults and, if asked for, statuses, then the sides of splits. Derived
 * features are computed here, by the SQL of the expressions whose closures serve them online: `as_of` is the label's time, request fields are label columns.
 */
export function setSql(table: string, parts: SetParts): string {
  const { labels, shape, withStatuses, split } = parts;
  const names = [
    ...labels.columns.map(({ name }) => name),
    ...shape.outputs.map(({ name }) => name),
    ...(split?.columns ?? []),
  ];
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `two columns of the training set are named "${twice}"; rename the label column or give the feature an alias`,
      { column: twice },
    );
  const label = (at: number) => sqlName(`#l${at}`);
  const side = (at: number) => sqlName(`#t${at}`);
  const given = [
    'l.sample_id AS sample_id',
    `toUnixTimestamp64Micro(l.label_time) AS ${asOf}`,
    ...labels.columns.map(({ name }, at) => `l.${sqlName(name)} AS ${label(at)}`),
    ...shape.requestFields.map((field, at) => requestSql(field, at, labels.columns)),
    ...shape.reads.flatMap((_, at) => readSql(at, parts)),
    ...(split?.columns ?? []).map((name, at) => `t.${sqlName(name)} AS ${side(at)}`),
  ];
  const answered = [
    ...labels.columns.map(({ name }, at) => `${label(at)} AS ${sqlName(name)}`),
    ...shape.outputs.flatMap(({ name, from: { t, at } }) => {
      const value = `${t === 'read' ? read(at) : step(at)} AS ${sqlName(name)}`;
      const status = `${t === 'read' ? readStatus(at) : stepStatus(at)} AS ${sqlName(`${name}__status`)}`;
      return withStatuses ? [value, status] : [value];
    }),
    ...(split?.columns ?? []).map((name, at) => `${side(at)} AS ${sqlName(name)}`),
  ];
  return `CREATE TABLE ${sqlName(table)} ENGINE = MergeTree ORDER BY sample_id AS
    SELECT sample_id, ${answered.join(', ')} FROM (${withSteps(`SELECT ${given.join(', ')} FROM ${joined(parts)}`, shape, withStatuses)})`;
}

/**
 * A read's value as it would have been served at the label's time, and its status if asked for: of an entity without a row nothing but the default, of
 * a value older than its `max_age` what the policy says. A policy that refuses the request gives no value here.
 */
export function readSql(at: number, parts: Omit<SetParts, 'split'>): string[] {
  const { shape, withStatuses } = parts;
  const reference = shape.reads[at] as definitions.FeatureReference;
  const type = shape.readTypes[at] ?? 'DOUBLE';
  const column = columnOf(at, parts);
  const { isMissing, isOld } = rowSql(at, parts);
  const { UNSPECIFIED, SERVE, DEFAULT } = definitions.StaleAction;
  const isTaken = [UNSPECIFIED, SERVE].some((action) => action === reference.staleAction) ? '0' : isOld;
  const kind = reference.defaultValue?.kind;
  const fallback = kind === undefined ? 'NULL' : defaultSql(kind.value, type);
  const whenOld = reference.staleAction === DEFAULT ? fallback : 'NULL';
  // a list or a vector cannot be null in ClickHouse, and of nothing it is empty
  const isVector = isVectorType(type);
  const value =
    isListType(type) || isVector
      ? `if(${isMissing} OR ${isTaken}, arrayResize(${column}, 0), ${column})`
      : `multiIf(${isMissing}, ${fallback}, ${isTaken}, ${whenOld}, ${kind === undefined ? column : `ifNull(${column}, ${fallback})`})`;
  if (!withStatuses) return [`${value} AS ${read(at)}`];
  const without = (status: string) => (kind === undefined ? `'${status}'` : `'DEFAULTED'`);
  const taken = whenOld === 'NULL' ? `'STALE'` : `'DEFAULTED'`;
  const status = `multiIf(${isMissing}, ${without('NOT_FOUND')}, ${isTaken}, ${taken}, ${isVector ? 'empty' : 'isNull'}(${column}), ${without('NULL')}, ${isOld}, 'STALE', 'PRESENT')`;
  return [`${value} AS ${read(at)}`, `${status} AS ${readStatus(at)}`];
}

/** Whether the entity had no row in the view at the label's time, or no key was found, and whether it was older than the feature's `max_age`. */
function rowSql(read: number, { steps, shape }: Pick<SetParts, 'steps' | 'shape'>) {
  const { maxAgeUs } = shape.reads[read] as definitions.FeatureReference;
  const at = steps.findIndex(({ plan }) => plan.t !== 'values' && isOfRead(plan, shape, read));
  const lookup = shape.lookupOfRead[read] ?? -1;
  const orNoKey = (condition: string) => (lookup < 0 ? condition : `(k${lookup}.sample_id = 0 OR ${condition})`);
  switch (steps[at]?.plan.t) {
    case 'age': {
      const age = `s${at}.${sqlName(rowAge.name)}`;
      return {
        isMissing: orNoKey(`isNull(${age})`),
        isOld: maxAgeUs > 0n ? `ifNull(round(${age} * 1e6) > ${maxAgeUs}, 0)` : '0',
      };
    }
    case 'seen':
      // a label that is not there has values that tell of a row
      return {
        isMissing: orNoKey(`(s${at}.sample_id != 0 AND s${at}.${sqlName(rowEvents.name)} = 0)`),
        isOld: '0',
      };
    default:
      return { isMissing: orNoKey('0'), isOld: '0' };
  }
}

function columnOf(read: number, { steps, shape }: Pick<SetParts, 'steps' | 'shape'>): string {
  const feature = shape.reads[read]?.feature ?? '';
  const at = steps.findIndex(
    ({ plan }) => isOfRead(plan, shape, read) && plan.view.features.some(({ name }) => name === feature),
  );
  return `s${at}.${sqlName(feature)}`;
}

function joined({ split, ...parts }: SetParts): string {
  const set = split ? ` LEFT JOIN ${sqlName(split.table)} AS t ON l.sample_id = t.sample_id` : '';
  return `${joinedReads(parts, () => true)}${set}`;
}

/** The labels with the tables of the steps of some reads. */
export function joinedReads(
  { labels, steps, shape, keys }: Omit<SetParts, 'split' | 'withStatuses'>,
  isRead: (at: number) => boolean,
): string {
  const wanted = [...shape.reads.keys()].filter(isRead);
  const join = (table: string, as: string) => `LEFT JOIN ${sqlName(table)} AS ${as} ON l.sample_id = ${as}.sample_id`;
  const joins = steps.flatMap(({ plan, target }, at) =>
    wanted.some((read) => isOfRead(plan, shape, read)) ? [join(target, `s${at}`)] : [],
  );
  const lookups = new Set(wanted.map((read) => shape.lookupOfRead[read] ?? -1).filter((lookup) => lookup >= 0));
  for (const lookup of lookups) joins.push(join(keys[lookup] ?? '', `k${lookup}`));
  return `${sqlName(labels.table)} AS l ${joins.join(' ')}`;
}

/** The set in its order. */
export function exportSql(table: string): string {
  return `SELECT * EXCEPT (sample_id) FROM ${sqlName(table)} ORDER BY sample_id`;
}
