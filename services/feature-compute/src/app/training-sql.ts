import type { definitions } from '@millrace/contracts';
import { asOfSql, type ViewDefinition, windowReachUs } from '@millrace/features';
import { eventTable } from '@millrace/history';
import { sqlLiteral, sqlName } from './sql.ts';

/** One view of the training set, with the features that are used. */
export type StepPlan = { readonly id: string; readonly view: ViewDefinition };

export type ChunkBounds = {
  readonly from: number;
  readonly to: number;
  readonly firstUs: number;
  readonly lastUs: number;
};

/** Labels in a stated order, numbered from 1: the order of the training set. */
export function labelsSql(table: string, labelQuery: string, columns: readonly string[]): string {
  const carried = columns.filter((name) => name !== 'label_time').map(sqlName);
  const order = ['label_time', ...carried].join(', ');
  return `CREATE TABLE ${sqlName(table)} ENGINE = MergeTree ORDER BY sample_id AS
    SELECT toUInt64(row_number() OVER (ORDER BY ${order})) AS sample_id, ${order}
    FROM (SELECT * REPLACE (toDateTime64(label_time, 6, 'UTC') AS label_time) FROM (${labelQuery}))`;
}

/**
 * Up to which position a source was known at an instant. Known times grow with positions but for steps of a clock; the
 * running maximum then leaves events out rather than let one in early.
 */
export function positionsSql(table: string, source: string, options: { readonly complete: boolean }): string {
  const rows = options.complete
    ? `SELECT toDateTime64('1900-01-01', 6, 'UTC') AS known, toUInt64(18446744073709551615) AS position, toUInt8(1) AS one`
    : `SELECT known, max(_seq) AS position, toUInt8(1) AS one FROM (
         SELECT _seq, max(batch_known) OVER (ORDER BY _seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS known
         FROM (SELECT _seq, max(_known_time) AS batch_known FROM ${eventTable(source)} GROUP BY _seq)
       ) GROUP BY known`;
  return `CREATE TABLE ${sqlName(table)} ENGINE = MergeTree ORDER BY known AS ${rows}`;
}

/** The features of one view for one chunk of labels. */
export function fillStepSql(step: {
  readonly plan: StepPlan;
  readonly labels: string;
  readonly target: string;
  readonly positions: string;
  readonly bounds: ChunkBounds;
  readonly first: boolean;
  readonly allowedDelayUs: number;
}): readonly string[] {
  const { view } = step.plan;
  const keys = view.joinKeys.map((key) => sqlName(key.name)).join(', ');
  const samples = `SELECT l.sample_id AS sample_id, ${view.joinKeys.map((key) => `l.${sqlName(key.name)} AS ${sqlName(key.name)}`).join(', ')},
      l.label_time AS as_of, p.position AS position
    FROM (SELECT sample_id, ${keys}, label_time, addMicroseconds(label_time, ${step.allowedDelayUs}) AS known_by, toUInt8(1) AS one
          FROM ${sqlName(step.labels)} WHERE sample_id > ${step.bounds.from} AND sample_id <= ${step.bounds.to}) AS l
    ASOF LEFT JOIN ${sqlName(step.positions)} AS p ON l.one = p.one AND l.known_by >= p.known`;
  const columns = ['sample_id', ...view.features.map((feature) => sqlName(feature.name))].join(', ');
  // one thread: the order of additions, and with it the last bits of floats and the digest, stay the same
  const select = `SELECT ${columns} FROM (${asOfSql(view, eventsBetween(view, step.bounds), samples)}) SETTINGS max_threads = 1`;
  const target = sqlName(step.target);
  return step.first
    ? [`CREATE TABLE ${target} ENGINE = MergeTree ORDER BY sample_id AS ${select}`]
    : [`INSERT INTO ${target} ${select}`];
}

/** The events that any window of the chunk can need. */
function eventsBetween(view: ViewDefinition, bounds: ChunkBounds): string {
  const reachUs = Math.max(...view.features.map(({ window }) => windowReachUs(window)));
  const until = `_event_time < fromUnixTimestamp64Micro(toInt64(${bounds.lastUs}), 'UTC')`;
  const since = Number.isFinite(reachUs)
    ? ` AND _event_time >= fromUnixTimestamp64Micro(toInt64(${Math.max(0, bounds.firstUs - reachUs)}), 'UTC')`
    : '';
  return `(SELECT * FROM ${eventTable(view.source)} WHERE ${until}${since})`;
}

/** Label columns, then the features under the names of the feature service, with its defaults. */
export function exportSql(
  labels: string,
  columns: readonly string[],
  steps: readonly { readonly plan: StepPlan; readonly target: string }[],
  service: { readonly features: readonly definitions.FeatureReference[] },
): string {
  const carried = columns.map((name) => `l.${sqlName(name)} AS ${sqlName(name)}`);
  const features = service.features.map((reference) => {
    const at = steps.findIndex(({ plan }) => plan.view.name === reference.view && versionFits(plan.view, reference));
    const column = `s${at}.${sqlName(reference.feature)}`;
    const fallback = reference.defaultValue?.kind;
    const value = fallback === undefined ? column : `ifNull(${column}, ${sqlLiteral(fallback.value)})`;
    return `${value} AS ${sqlName(reference.alias === '' ? `${reference.view}__${reference.feature}` : reference.alias)}`;
  });
  const joins = steps.map(
    ({ target }, at) => `LEFT JOIN ${sqlName(target)} AS s${at} ON l.sample_id = s${at}.sample_id`,
  );
  return `SELECT ${[...carried, ...features].join(', ')} FROM ${sqlName(labels)} AS l ${joins.join(' ')} ORDER BY l.sample_id`;
}

function versionFits(view: ViewDefinition, reference: definitions.FeatureReference): boolean {
  return reference.viewVersion === '' || reference.viewVersion === view.version;
}
