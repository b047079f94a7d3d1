import { tableWithInputs, withInputs } from '../inputs.ts';
import { eventColumn, sqlName } from '../sql-names.ts';
import type { JoinKeyDefinition, ViewDefinition } from '../types.ts';
import { lifetimeHopUs, type ResolvedWindow, resolveWindow, windowKey } from '../windows.ts';
import { type RangePart, rangeFeature } from './range-feature.ts';
import type { RangePlan, RangeWindow } from './range-plan.ts';
import { lateSpansUs, mergedPart, rangeOf, rangePart, tailLayers } from './range-tails.ts';

export interface RangeOptions {
  /** Every event counts, whenever it became known: positions are not looked at. */
  readonly complete: boolean;
  /** Of an entity; the samples of one with more are not answered. */
  readonly eventsPerEntityMax: number;
}

/** True when `rangeSql` can say the feature: its ranges know events that came late, and none that are corrected. */
export function isRangeable(given: ViewDefinition, name: string): boolean {
  const view = withInputs(given);
  const feature = view.features.find((each) => each.name === name);
  return view.changes === undefined && feature !== undefined && rangeFeature(feature, view) !== undefined;
}

/**
 * The values of `asOfSql` without a join of samples and events: each entity's events in an array in their order, each sample's windows as ranges of it,
 * found by one sort, and aggregates over the ranges (`arrayReduceInRanges`, which keeps partial states of 64, 128, 256 … events and merges them; nothing is
 * subtracted). Costs events + samples × log events. Where some event of a window was not known yet, the events before the first such one are a range, and
 * the known ones after it are taken one by one; states of both are merged.
 *
 * Samples that it does not answer, to be asked of `asOfSql`: those with many events not known yet (range-tails.ts) and those of an entity with more
 * than `eventsPerEntityMax` events. Every feature is rangeable; `table` and `samples` as in `asOfSql`, `table` holding `_event_time` in its order only by chance.
 * It must run in one thread, with `rangeSettings`.
 */
export function rangeSql(given: ViewDefinition, table: string, samples: string, options: RangeOptions): string {
  const view = withInputs(given);
  const plan = planOf(view, options);
  const layers = [...boundLayers(plan), ...(options.complete ? wholeLayers(plan) : tailLayers(plan))];
  const source = layers.reduce(
    (inner, layer) => `SELECT *, ${layer}\nFROM (${inner})`,
    joined(view, tableWithInputs(view, table), samples, plan, options),
  );
  const { groups, parts } = groupsOf(plan);
  const computed = groups.map(({ part, windows }, at) => {
    const over = (prefix: string) => `arrayConcat(${windows.map((window) => `${prefix}${window}`).join(', ')})`;
    return `${options.complete ? rangePart(part, over('r')) : mergedPart(part, over('r'), over('z'))} AS q${at}`;
  });
  const answered = options.complete ? 'arrayMap(i -> 1, ids)' : 'answered';
  const arrays = ['ids', `${answered} AS ok`, 'too_many', ...computed];
  const names = parts.map(
    ({ group, place }, at) => `arraySlice(q${group}, ${place} * length(ids) + 1, length(ids)) AS v${at}`,
  );
  const values = plan.values.map(({ name, sql }) => `${sql} AS ${sqlName(name)}`);
  return `SELECT id AS sample_id, ${values.join(', ')}
    FROM (SELECT ${arrays.join(',\n')} FROM (${source})) ARRAY JOIN ${['ids AS id', 'ok AS is_answered', ...names].join(', ')}
    WHERE is_answered AND NOT too_many`;
}

/** Parts that differ in their window alone are computed together: their partial states are made once. */
function groupsOf(plan: RangePlan) {
  const groups: { readonly key: string; readonly part: RangePart; readonly windows: number[] }[] = [];
  const parts = plan.parts.map(({ part, window }) => {
    const key = JSON.stringify(part);
    let group = groups.findIndex((each) => each.key === key);
    if (group < 0) group = groups.push({ key, part, windows: [] }) - 1;
    return { group, place: (groups[group]?.windows.push(window) ?? 1) - 1 };
  });
  return { groups, parts };
}

/** One thread and an order that is kept: the same bits again. */
export const rangeSettings =
  "max_threads = 1, max_block_size = 8192, query_plan_remove_redundant_sorting = 0, optimize_duplicate_order_by_and_distinct = 0, short_circuit_function_evaluation = 'enable'";

function planOf(view: ViewDefinition, options: RangeOptions): RangePlan {
  const bounds: string[] = ['t'];
  const windows: RangeWindow[] = [];
  const windowAt = new Map<string, number>();
  const windowOf = (window: ResolvedWindow): number => {
    const key = windowKey(window);
    const known = windowAt.get(key);
    if (known !== undefined) return known;
    const { sizeUs, hopUs, offsetUs } = window;
    const lo = bounds.push(hopUs === lifetimeHopUs ? 'toInt64(0)' : hopStart(sizeUs + offsetUs, hopUs)) - 1;
    const hi = offsetUs === 0 ? 0 : bounds.push(hopStart(offsetUs, hopUs)) - 1;
    windowAt.set(key, windows.length);
    return windows.push({ lo, hi }) - 1;
  };
  const columns: string[] = [];
  const columnOf = (sql: string): string => {
    if (sql.startsWith('#')) return sql;
    if (!columns.includes(sql)) columns.push(sql);
    return `c${columns.indexOf(sql)}`;
  };
  const parts: { part: RangePart; window: number }[] = [];
  const partOf = (part: RangePart, window: number): string => {
    const key = JSON.stringify([part, window]);
    const known = parts.findIndex((each) => JSON.stringify([each.part, each.window]) === key);
    return `v${known >= 0 ? known : parts.push({ part, window }) - 1}`;
  };
  const values = view.features.map((feature) => {
    const made = rangeFeature(feature, view);
    if (!made) throw new Error(`feature "${feature.name}" is not rangeable`);
    const window = windowOf(resolveWindow(feature.window));
    const names = made.parts.map((part) => partOf({ ...part, args: part.args.map(columnOf) }, window));
    return { name: feature.name, sql: made.value(names) };
  });
  const firstSpan = bounds.length;
  if (!options.complete) bounds.push(...lateSpansUs.map((spanUs) => `t - ${spanUs}`));
  return { columns, bounds, windows, parts, values, firstSpan };
}

/** As `asOfSql` has it, in µs. */
function hopStart(beforeUs: number, hopUs: number): string {
  return `greatest(toInt64(0), intDiv(t - ${beforeUs}, ${hopUs}) * ${hopUs})`;
}

const keyTypes: Readonly<Record<JoinKeyDefinition['type'], string>> = {
  BOOL: 'Bool',
  INT64: 'Int64',
  DOUBLE: 'Float64',
  STRING: 'String',
  TIMESTAMP: "DateTime64(6, 'UTC')",
};

/** One row for each entity with labels: its labels in time order as `ids`, `lt`, `ps`, and its events as arrays. */
function joined(
  view: ViewDefinition,
  table: string,
  samples: string,
  plan: RangePlan,
  { eventsPerEntityMax }: RangeOptions,
): string {
  const given = view.joinKeys.map(({ name }, at) => `s.${sqlName(name)} AS k${at}`);
  const keys = view.joinKeys.map((_, at) => `k${at}`);
  const own = view.joinKeys.map(({ field }) => eventColumn(field));
  const gather = (sql: string) => `groupArray(${eventsPerEntityMax + 1})(${sql})`;
  const arrays = plan.columns.map((_, at) => `${gather(`x${at}`)} AS c${at}`);
  const events = plan.columns.map((sql, at) => `${sql} AS x${at}`);
  const labels = `SELECT ${keys.join(', ')}, groupArray(sample_id) AS ids, groupArray(t) AS lt, groupArray(p) AS ps
    FROM (SELECT ${given.join(', ')}, s.sample_id AS sample_id, toUnixTimestamp64Micro(s.as_of) AS t, s.position AS p FROM (${samples}) AS s ORDER BY t, sample_id)
    GROUP BY ${keys.join(', ')}`;
  // hashes of one type on both sides find the entities that have labels: a set of numbers is looked into faster than one of texts
  const hashed = (columns: readonly string[]) =>
    columns.map((column, at) => `CAST(${column} AS ${keyTypes[view.joinKeys[at]?.type ?? 'STRING']})`).join(', ');
  const history = `SELECT ${keys.join(', ')}, ${[`${gather('event_us')} AS ts`, `${gather('seq')} AS sq`, ...arrays].join(', ')}
    FROM (SELECT ${own.map((column, at) => `assumeNotNull(${column}) AS k${at}`).join(', ')},
        ${['toUnixTimestamp64Micro(e._event_time) AS event_us', 'e._seq AS seq', ...events].join(', ')}
      FROM ${table} AS e
      WHERE ${own.map((column) => `isNotNull(${column})`).join(' AND ')}
        AND cityHash64(${hashed(own.map((column) => `assumeNotNull(${column})`))}) IN (
          SELECT cityHash64(${hashed(view.joinKeys.map(({ name }) => `s.${sqlName(name)}`))}) FROM (${samples}) AS s)
      ORDER BY e._event_time, e._seq, e._index)
    GROUP BY ${keys.join(', ')}`;
  const on = keys.map((key) => `l.${key} = h.${key}`).join(' AND ');
  const taken = ['ts', 'sq', ...plan.columns.map((_, at) => `c${at}`)].map((name) => `h.${name} AS ${name}`);
  return `SELECT l.ids AS ids, l.lt AS lt, l.ps AS ps, ${taken.join(', ')}, length(ts) > ${eventsPerEntityMax} AS too_many
    FROM (${labels}) AS l LEFT JOIN (${history}) AS h ON ${on}`;
}

/**
 * For each bound an array over labels, `b0`, `b1`, …: how many events come before it. Events and bounds are sorted together, each time with a tag below
 * it that puts a bound before an event of the same instant; a running count of events is then read at the bounds.
 */
function boundLayers({ bounds }: RangePlan): string[] {
  const tags = 2 ** Math.ceil(Math.log2(bounds.length + 1));
  const tagged = bounds.map((bound, at) => `arrayMap(t -> (${bound}) * ${tags} + ${at}, lt)`);
  const isEvent = `bitAnd(x, ${tags - 1}) = ${tags - 1}`;
  const read = bounds.map((_, at) => `arrayFilter((c, g) -> g = ${at}, counts, tag) AS b${at}`);
  return [
    `arraySort(arrayConcat(arrayMap(t -> t * ${tags} + ${tags - 1}, ts), ${tagged.join(', ')})) AS merged`,
    `arrayMap(x -> ${isEvent}, merged) AS event`,
    `arrayFilter((c, y) -> NOT y, arrayCumSum(event), event) AS counts, arrayMap(x -> bitAnd(x, ${tags - 1}), arrayFilter((x, y) -> NOT y, merged, event)) AS tag`,
    read.join(', '),
  ];
}

/** Each window's range of a label, `r0`, `r1`, …. */
function wholeLayers({ windows }: RangePlan): string[] {
  return [
    windows.map(({ lo, hi }, at) => `arrayMap((a, z) -> ${rangeOf('a', 'z')}, b${lo}, b${hi}) AS r${at}`).join(', '),
  ];
}
