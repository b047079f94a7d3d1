import { asOfSql, rangeSettings, rangeSql, type ViewDefinition, windowReachUs } from '@millrace/features';
import { eventTable } from '@millrace/history';
import { sqlName } from '../sql.ts';

/**
 * Features of one view that are computed together: by ranges, or all by a join. `seen` tells whether the entity had a row, `age` how old it was.
 */
export type StepPlan = {
  readonly t: 'values' | 'age' | 'seen';
  readonly view: ViewDefinition;
  readonly byRanges: boolean;
};

export type ChunkBounds = {
  readonly from: number;
  readonly to: number;
  readonly firstUs: number;
  readonly lastUs: number;
};

/**
 * Up to which position a source was known at an instant. Known times grow with positions but for steps of a clock; the
 * running maximum then leaves events out rather than let one in early.
 */
export function positionsSql(
  table: string,
  source: string,
  options: { readonly complete: boolean; readonly cutoff: number },
): string {
  const rows = options.complete
    ? `SELECT toDateTime64('1900-01-01', 6, 'UTC') AS known, toUInt64(${options.cutoff}) AS position, toUInt8(1) AS one`
    : `SELECT known, max(_seq) AS position, toUInt8(1) AS one FROM (
         SELECT _seq, max(batch_known) OVER (ORDER BY _seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS known
         FROM (SELECT _seq, max(_known_time) AS batch_known FROM ${eventTable(source)} WHERE _seq <= ${options.cutoff} GROUP BY _seq)
       ) GROUP BY known`;
  return `CREATE TABLE ${sqlName(table)} ENGINE = MergeTree ORDER BY known AS ${rows}`;
}

/** Where a step's values go, and what it reads. */
export type StepTables = {
  readonly plan: StepPlan;
  readonly labels: string;
  readonly target: string;
  readonly positions: string;
  readonly bounds: ChunkBounds;
  readonly allowedDelayUs: number;
  readonly complete: boolean;
  /** Events after this position came while the set was built. */
  readonly cutoff: number;
  /** A condition on labels; the others get no row. */
  readonly only?: string;
};

/** An empty table with the columns that `asOfSql` gives. */
export function targetSql({ plan, labels, target, positions, allowedDelayUs }: Omit<StepTables, 'bounds'>): string {
  const nothing = `(SELECT * FROM ${eventTable(plan.view.source)} WHERE 0)`;
  const samples = samplesSql(plan.view, { labels, positions, allowedDelayUs }, 'sample_id = 0');
  return `CREATE TABLE ${sqlName(target)} ENGINE = MergeTree ORDER BY sample_id EMPTY AS
    SELECT ${columnsOf(plan.view)} FROM (${asOfSql(plan.view, nothing, samples)})`;
}

/** Events of one entity that are held at once; the labels of one with more are joined. */
const eventsPerEntityMax = 4_000_000;

/** One shard of the entities, without a join of labels and events; some labels may be left for `joinSql`. */
export function rangesSql(step: StepTables, shard: { readonly at: number; readonly of: number }): string {
  const { view } = step.plan;
  const keys = view.joinKeys.map((key) => sqlName(key.name)).join(', ');
  const samples = samplesSql(view, step, `sipHash64(tuple(${keys})) % ${shard.of} = ${shard.at}${narrowed(step)}`);
  const ranges = rangeSql(view, eventsBetween(view, step), samples, {
    complete: step.complete,
    eventsPerEntityMax,
  });
  const columns = columnsOf(view);
  return `INSERT INTO ${sqlName(step.target)} (${columns}) SELECT ${columns} FROM (${ranges}) SETTINGS ${rangeSettings}`;
}

/** The labels of a chunk that have no values yet, joined with their events. */
export function joinSql(step: StepTables): string {
  const { view } = step.plan;
  const { from, to } = step.bounds;
  const left = `sample_id > ${from} AND sample_id <= ${to} AND sample_id NOT IN (SELECT sample_id FROM ${sqlName(step.target)})${narrowed(step)}`;
  const columns = columnsOf(view);
  // one thread: the order of additions, and with it the last bits of floats and the digest, stay the same
  return `INSERT INTO ${sqlName(step.target)} (${columns})
    SELECT ${columns} FROM (${asOfSql(view, eventsBetween(view, step), samplesSql(view, step, left))}) SETTINGS max_threads = 1`;
}

function narrowed({ only }: StepTables): string {
  return only === undefined ? '' : ` AND ${only}`;
}

function columnsOf(view: ViewDefinition): string {
  return ['sample_id', ...view.features.map((feature) => sqlName(feature.name))].join(', ');
}

/** Labels as `asOfSql` takes them, each with the position up to which its source was known. */
function samplesSql(
  view: ViewDefinition,
  tables: { readonly labels: string; readonly positions: string; readonly allowedDelayUs: number },
  where: string,
): string {
  const keys = view.joinKeys.map((key) => sqlName(key.name));
  return `SELECT l.sample_id AS sample_id, ${keys.map((key) => `l.${key} AS ${key}`).join(', ')}, l.label_time AS as_of, p.position AS position
    FROM (SELECT sample_id, ${keys.join(', ')}, label_time, addMicroseconds(label_time, ${tables.allowedDelayUs}) AS known_by, toUInt8(1) AS one
          FROM ${sqlName(tables.labels)} WHERE ${where}) AS l
    ASOF LEFT JOIN ${sqlName(tables.positions)} AS p ON l.one = p.one AND l.known_by >= p.known`;
}

/** The events that any window of the chunk can need. */
export function eventsBetween(
  view: ViewDefinition,
  { bounds, cutoff }: { readonly bounds: ChunkBounds; readonly cutoff: number },
): string {
  const reachUs = Math.max(...view.features.map(({ window }) => windowReachUs(window)));
  const until = `_event_time < fromUnixTimestamp64Micro(toInt64(${bounds.lastUs}), 'UTC')`;
  const since = Number.isFinite(reachUs)
    ? ` AND _event_time >= fromUnixTimestamp64Micro(toInt64(${Math.max(0, bounds.firstUs - reachUs)}), 'UTC')`
    : '';
  return `(SELECT * FROM ${eventTable(view.source)} WHERE _seq <= ${cutoff} AND ${until}${since})`;
}
