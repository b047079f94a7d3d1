import {
  asOfSql,
  type JoinKeyDefinition,
  rangeSettings,
  rangeSql,
  type ViewDefinition,
  windowReachUs,
} from '@millrace/features';
import { eventTable, viewEvents } from '@millrace/history';
import { sqlName } from '../sql.ts';

/**
 * Features of one view that are computed together: by ranges, or all by a join. `seen` tells whether the entity had a row, `age` how old it was.
 */
export type StepPlan = {
  readonly t: 'values' | 'age' | 'seen';
  readonly view: ViewDefinition;
  readonly byRanges: boolean;
  /** The place of the lookup that finds its rows; −1: the labels' join keys do. */
  readonly lookup: number;
};

export type ChunkBounds = {
  readonly from: number;
  readonly to: number;
  readonly firstUs: number;
  readonly lastUs: number;
};

/**
 * Creates a table of labels as `asOfSql` takes them: with the position up to which the source was known at the label's time and the delay. Known times grow with
 * positions but for steps of a clock; the running maximum then leaves events out rather than let one in early.
 */
export function samplesTableSql(
  table: string,
  source: string,
  options: {
    readonly labels: string;
    readonly joinKeys: readonly JoinKeyDefinition[];
    readonly allowedDelayUs: number;
    readonly complete: boolean;
    readonly cutoff: number;
  },
): string {
  const keys = options.joinKeys.map(({ name }) => sqlName(name));
  const create = `CREATE TABLE ${sqlName(table)} ENGINE = MergeTree ORDER BY sample_id AS`;
  if (options.complete)
    return `${create} SELECT ${['sample_id', ...keys].join(', ')}, label_time AS as_of, toUInt64(${options.cutoff}) AS position FROM ${sqlName(options.labels)}`;
  const known = `SELECT known, max(_seq) AS position, toUInt8(1) AS one FROM (
         SELECT _seq, max(batch_known) OVER (ORDER BY _seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS known
         FROM (SELECT _seq, max(_known_time) AS batch_known FROM ${eventTable(source)} WHERE _seq <= ${options.cutoff} GROUP BY _seq)
       ) GROUP BY known`;
  return `${create} SELECT ${['sample_id', ...keys].map((name) => `l.${name} AS ${name}`).join(', ')}, l.label_time AS as_of, p.position AS position
    FROM (SELECT ${['sample_id', ...keys].join(', ')}, label_time, addMicroseconds(label_time, ${options.allowedDelayUs}) AS known_by, toUInt8(1) AS one
          FROM ${sqlName(options.labels)}) AS l
    ASOF LEFT JOIN (${known}) AS p ON l.one = p.one AND l.known_by >= p.known`;
}

/** Where a step's values go, and what it reads. */
export type StepTables = {
  readonly plan: StepPlan;
  /** A table of `samplesTableSql`. */
  readonly samples: string;
  readonly target: string;
  readonly bounds: ChunkBounds;
  readonly complete: boolean;
  /** Events after this position came while the set was built. */
  readonly cutoff: number;
  /** A condition on labels; the others get no row. */
  readonly only: string | undefined;
};

/** An empty table with the columns that `asOfSql` gives. */
export function targetSql({ plan, samples, target }: Pick<StepTables, 'plan' | 'samples' | 'target'>): string {
  const nothing = `(SELECT * FROM ${viewEvents(plan.view)} WHERE 0)`;
  return `CREATE TABLE ${sqlName(target)} ENGINE = MergeTree ORDER BY sample_id EMPTY AS
    SELECT ${columnsOf(plan.view)} FROM (${asOfSql(plan.view, nothing, samplesSql(plan.view, samples, 'sample_id = 0'))})`;
}

/** Events of one entity that are held at once; the labels of one with more are joined. */
const eventsPerEntityMax = 4_000_000;

/** One shard of the entities, without a join of labels and events; some labels may be left for `joinSql`. */
export function rangesSql(step: StepTables, shard: { readonly at: number; readonly of: number }): string {
  const { view } = step.plan;
  const keys = view.joinKeys.map((key) => sqlName(key.name)).join(', ');
  const samples = samplesSql(
    view,
    step.samples,
    `sipHash64(tuple(${keys})) % ${shard.of} = ${shard.at}${narrowed(step)}`,
  );
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
    SELECT ${columns} FROM (${asOfSql(view, eventsBetween(view, step), samplesSql(view, step.samples, left))}) SETTINGS max_threads = 1`;
}

function narrowed({ only }: StepTables): string {
  return only === undefined ? '' : ` AND ${only}`;
}

function columnsOf(view: ViewDefinition): string {
  return ['sample_id', ...view.features.map((feature) => sqlName(feature.name))].join(', ');
}

function samplesSql(view: ViewDefinition, samples: string, where: string): string {
  const keys = view.joinKeys.map((key) => sqlName(key.name));
  return `SELECT ${['sample_id', ...keys].join(', ')}, as_of, position FROM ${sqlName(samples)} WHERE ${where}`;
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
  return `(SELECT * FROM ${viewEvents(view)} WHERE _seq <= ${cutoff} AND ${until}${since})`;
}
