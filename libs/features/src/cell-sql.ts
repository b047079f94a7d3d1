import type { Cell } from './cells/cell.ts';
import { decayedMeanSql, decayedPartSql, weightSql } from './cells/decayed.ts';
import { distinctPartSql, distinctSql } from './cells/distinct.ts';
import { entropySql, frequenciesPartSql } from './cells/entropy.ts';
import { hashSql } from './cells/hash-of.ts';
import { histogramSql } from './cells/histogram.ts';
import { orderedSql } from './cells/ordered.ts';
import { bucketsPartSql, percentileSql } from './cells/percentile.ts';
import { topKSql, valueCountsSql } from './cells/top-k.ts';
import { trendPartSql, trendSql } from './cells/trend.ts';
import type { SimpleDefinition } from './compose.ts';
import { compileFilter } from './expression/filter.ts';
import { eventColumn } from './sql-names.ts';
import type { FeatureDefinition, ViewDefinition } from './types.ts';
import { isVectorType } from './vectors.ts';
import { rateSeconds } from './windows.ts';

/** A cell's partial aggregate as ClickHouse aggregates over events `e`: what state.ts keeps in slots. */
export interface CellSql {
  readonly n: string;
  readonly x: string;
  readonly y: string;
  readonly z: string;
  readonly value: string;
}

const none = 'toFloat64(0)';
const eventUs = 'toUnixTimestamp64Micro(e._event_time)';

/** `within` is a condition on `e` (and whatever it is joined with). */
export function cellSql(cell: Cell, view: ViewDefinition, within: string): CellSql {
  const where = condition(cell.field, cell.filter, view, within);
  const value = eventColumn(cell.field);
  const n = `countIf(${where})`;
  const order = 'tuple(e._event_time, e._seq, e._index)';
  switch (cell.kind) {
    case 'count':
      return { n, x: none, y: none, z: none, value: "''" };
    case 'sum':
      return {
        n,
        x: none,
        y: none,
        z: none,
        value:
          cell.type === 'DOUBLE'
            ? `toFloat64(sumKahanIf(assumeNotNull(${value}), ${where}))`
            : `toString(sumIf(toInt128(assumeNotNull(${value})), ${where}))`,
      };
    case 'moments':
      return {
        n,
        x: `sumKahanIf(toFloat64(assumeNotNull(${value})), ${where}) / ${n}`,
        y: `varPopStableIf(toFloat64(assumeNotNull(${value})), ${where})`,
        z: none,
        value: "''",
      };
    case 'min':
    case 'max':
      return { n, x: none, y: none, z: none, value: exact(cell, `${cell.kind}If(assumeNotNull(${value}), ${where})`) };
    case 'first':
    case 'last': {
      const pick = cell.kind === 'first' ? 'argMinIf' : 'argMaxIf';
      const key = `${cell.kind === 'first' ? 'minIf' : 'maxIf'}(${order}, ${where})`;
      return {
        n,
        x: `toUnixTimestamp64Micro(${key}.1)`,
        y: `${key}.2`,
        z: `${key}.3`,
        value: exact(cell, `${pick}(assumeNotNull(${value}), ${order}, ${where})`),
      };
    }
    case 'distinct':
      return {
        n,
        x: none,
        y: none,
        z: none,
        value: distinctPartSql(hashSql(cell.type, `assumeNotNull(${value})`), where),
      };
    case 'latest':
      return { n, x: `maxIf(${eventUs}, ${where})`, y: none, z: none, value: "''" };
    case 'decayed':
      return {
        n,
        x: `maxIf(${eventUs}, ${where})`,
        y: none,
        z: none,
        value: decayedPartSql(eventUs, weighed(cell), cell.halfLifeUs, where),
      };
    case 'last_n':
    case 'first_n':
    case 'last_distinct_n':
    case 'first_distinct_n':
      return {
        n,
        x: none,
        y: none,
        z: none,
        value: entriesJson(cell, orderedSql(cell, eventUs, listValue(cell), where)),
      };
    case 'values':
      return { n, x: none, y: none, z: none, value: entriesJson(cell, valueCounts(cell, where)) };
    case 'trend':
      return {
        n,
        x: none,
        y: none,
        z: none,
        value: trendPartSql(eventUs, '{frontier:Int64}', `assumeNotNull(${value})`, where),
      };
    case 'histogram':
      return {
        n,
        x: none,
        y: none,
        z: none,
        value: `toJSONString(${histogramSql(cell, `assumeNotNull(${value})`, where)})`,
      };
    case 'buckets':
      return { n, x: none, y: none, z: none, value: bucketsPartSql(`assumeNotNull(${value})`, where) };
    case 'frequencies':
      return {
        n,
        x: none,
        y: none,
        z: none,
        value: frequenciesPartSql(hashSql(cell.type, `assumeNotNull(${value})`), where),
      };
    default:
      return cell.kind satisfies never;
  }
}

/** A value as one that may be a map's key: booleans and times are integers, and there is one zero. */
function listValue({ field, type }: Cell): string {
  const value = `assumeNotNull(${eventColumn(field)})`;
  if (type === 'TIMESTAMP') return `toUnixTimestamp64Micro(${value})`;
  if (type === 'BOOL') return `toUInt8(${value})`;
  return type === 'DOUBLE' ? `if(${value} = 0, toFloat64(0), ${value})` : value;
}

function valueCounts(cell: Cell, where: string): string {
  const type = cell.type === 'TIMESTAMP' ? 'INT64' : cell.type;
  return valueCountsSql(listValue(cell), (value) => hashSql(type, value), where);
}

/** Entries as JSON, integers as text so that nothing is lost. */
function entriesJson({ type }: Cell, entries: string): string {
  const value = type === 'DOUBLE' || type === 'STRING' ? 'p.4' : 'toString(p.4)';
  return `toJSONString(arrayMap(p -> tuple(p.1, p.2, p.3, ${value}), ${entries}))`;
}

/** The values of a list as the feature's type says. */
function listSql({ type }: Cell, values: string): string {
  return type === 'BOOL' ? `CAST(${values} AS Array(Bool))` : values;
}

/** What an event adds to a decayed sum before it decays; texts and times are only counted. */
function weighed({ field, type }: Cell): string {
  return field === '' || type === 'STRING' || type === 'TIMESTAMP'
    ? '1'
    : `toFloat64(assumeNotNull(${eventColumn(field)}))`;
}

/** Integers and times as whole numbers in text, so that JSON loses nothing; vectors as JSON. */
function exact(cell: Cell, sql: string): string {
  if (cell.part === 'vector') return `toJSONString(${sql})`;
  if (cell.type === 'TIMESTAMP') return `toString(toUnixTimestamp64Micro(${sql}))`;
  if (cell.type === 'INT64') return `toString(${sql})`;
  if (cell.type === 'BOOL') return `toString(toUInt8(${sql}))`;
  return sql;
}

/**
 * A feature's value over the events that match, null (of a vector, empty) where it has none: what `Finish` makes of slots. `asOfUs` is the read time, the same for
 * every event that is aggregated.
 */
export function featureSql(
  feature: SimpleDefinition,
  cell: Cell,
  view: ViewDefinition,
  within: string,
  asOfUs: string,
): string {
  const where = condition(feature.field, feature.filter, view, within);
  const value = `assumeNotNull(${eventColumn(feature.field)})`;
  const n = `countIf(${where})`;
  const orNull = (sql: string) => (cell.part === 'vector' ? sql : `if(${n} = 0, NULL, ${sql})`);
  const order = 'tuple(e._event_time, e._seq, e._index)';
  switch (feature.function) {
    case 'count':
      return `toInt64(${n})`;
    case 'sum':
      return orNull(cell.type === 'DOUBLE' ? `sumKahanIf(${value}, ${where})` : `sumIf(toInt64(${value}), ${where})`);
    case 'mean':
      return orNull(
        cell.type === 'DOUBLE'
          ? `sumKahanIf(${value}, ${where}) / ${n}`
          : `toFloat64(sumIf(toInt128(${value}), ${where})) / ${n}`,
      );
    case 'rate':
      return `${rateTotal(cell, value, where, n)} / ${rateSeconds(feature.window)}`;
    case 'variance':
      return varianceSql(feature, value, where, n);
    case 'stddev':
      return `sqrt(${varianceSql(feature, value, where, n)})`;
    case 'min':
      return orNull(plain(cell, `minIf(${value}, ${where})`));
    case 'max':
      return orNull(plain(cell, `maxIf(${value}, ${where})`));
    case 'first':
      return orNull(plain(cell, `argMinIf(${value}, ${order}, ${where})`));
    case 'last':
      return orNull(plain(cell, `argMaxIf(${value}, ${order}, ${where})`));
    case 'distinct':
      return distinctSql(hashSql(cell.type, value), where);
    case 'percentile':
      return orNull(percentileSql(feature.quantile ?? 0.5, value, where, n));
    case 'entropy':
      return orNull(entropySql(hashSql(cell.type, value), where, n));
    case 'last_n':
    case 'first_n':
    case 'last_distinct_n':
    case 'first_distinct_n':
      return listSql(cell, `arrayMap(p -> p.4, ${orderedSql(cell, eventUs, listValue(cell), where)})`);
    case 'top_k':
      return listSql(cell, topKSql(feature.n ?? 1, valueCounts(cell, where)));
    case 'histogram':
      return histogramSql(cell, value, where);
    case 'trend':
      return trendSql(eventUs, asOfUs, value, where);
    case 'age':
      return orNull(`(any(${asOfUs}) - maxIf(${eventUs}, ${where})) / 1e6`);
    case 'decayed_sum':
      return orNull(decayedSumSql(cell, weighed(cell), asOfUs, where));
    case 'decayed_count':
      return decayedSumSql(cell, '1', asOfUs, where);
    case 'decayed_mean':
      return orNull(decayedMeanSql(eventUs, weighed(cell), cell.halfLifeUs, where));
    default:
      return feature.function satisfies never;
  }
}

function decayedSumSql({ halfLifeUs }: Cell, value: string, asOfUs: string, where: string): string {
  return `sumKahanIf(${weightSql(eventUs, asOfUs, halfLifeUs)} * ${value}, ${where})`;
}

function rateTotal(cell: Cell, value: string, where: string, n: string): string {
  if (cell.kind === 'count') return `toFloat64(${n})`;
  return cell.type === 'DOUBLE' ? `sumKahanIf(${value}, ${where})` : `toFloat64(sumIf(toInt128(${value}), ${where}))`;
}

/** Times are microseconds here too, as in rows. */
function plain(cell: Cell, sql: string): string {
  return cell.type === 'TIMESTAMP' ? `toUnixTimestamp64Micro(${sql})` : sql;
}

function varianceSql({ ddof }: FeatureDefinition, value: string, where: string, n: string): string {
  return `if(${n} <= ${ddof} OR ${n} = 0, NULL, varPopStableIf(toFloat64(${value}), ${where}) * ${n} / (toFloat64(${n}) - ${ddof}))`;
}

/** No column may hold arrays and nulls: a vector that is null is empty. */
function isVector(field: string, { fields }: ViewDefinition): boolean {
  return isVectorType(fields.find(({ name }) => name === field)?.type ?? '');
}

/** Whether an event `e` counts. */
export function condition(field: string, filter: string, view: ViewDefinition, within: string): string {
  const parts = [within];
  if (field !== '') parts.push(`${isVector(field, view) ? 'notEmpty' : 'isNotNull'}(${eventColumn(field)})`);
  if (filter !== '') parts.push(compileFilter(filter, view.fields).sql(eventColumn));
  return `(${parts.join(' AND ')})`;
}
