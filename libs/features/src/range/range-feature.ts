import { condition } from '../cell-sql.ts';
import { type Cell, cellOf } from '../cells/cell.ts';
import { isSimple } from '../compose.ts';
import { eventColumn } from '../sql-names.ts';
import type { FeatureDefinition, ViewDefinition } from '../types.ts';
import { isVectorType } from '../vectors.ts';
import { rateSeconds } from '../windows.ts';

/** An aggregate over the events of a range; its arguments are expressions on an event `e`, or `place`. */
export interface RangePart {
  readonly aggregate: string;
  readonly args: readonly string[];
}

/** An argument: the event's place in the order of (event time, position, index). */
export const place = '#place';
/** Of the aggregate that tells a range's length. */
export const lengthPart: RangePart = { aggregate: '#length', args: [] };

export interface RangeFeature {
  readonly parts: readonly RangePart[];
  /** The value from the parts' results. */
  readonly value: (parts: readonly string[]) => string;
}

/**
 * A feature as aggregates over ranges of an entity's events in their order, or undefined for what only `asOfSql` says: distinct counts (beyond
 * 1,024 they need registers), percentiles and entropies, whose states are maps and cost more in ranges than in a join, and vectors, of which ranges would hold
 * every one that an entity ever had. New functions land there too.
 */
export function rangeFeature(feature: FeatureDefinition, view: ViewDefinition): RangeFeature | undefined {
  if (feature.window.t === 'session' || !isSimple(feature)) return undefined;
  const cell = cellOf(feature, new Map(view.fields.map((field) => [field.name, field])));
  if (cell.part === 'vector') return undefined;
  const isNullable = view.fields.some(
    ({ name, type, nullable }) => name === feature.field && (nullable || isVectorType(type)),
  );
  const where =
    isNullable || feature.filter !== ''
      ? `ifNull(toUInt8(${condition(feature.field, feature.filter, view, 'true')}), 0)`
      : '';
  const value = `assumeNotNull(${eventColumn(feature.field)})`;
  const over = (aggregate: string, ...args: readonly string[]): RangePart =>
    where === '' ? { aggregate, args } : { aggregate: `${aggregate}If`, args: [...args, where] };
  const n: RangePart = where === '' ? lengthPart : { aggregate: 'countIf', args: [where] };
  /** Null where no event counts. */
  const orNull = (part: RangePart, of = (part: string) => part): RangeFeature => ({
    parts: [n, part],
    value: ([count = '', result = '']) => `if(${count} = 0, NULL, ${of(result)})`,
  });
  const float = cell.type === 'DOUBLE' ? value : `toFloat64(${value})`;
  switch (feature.function) {
    case 'count':
      return { parts: [n], value: ([count = '']) => `toInt64(${count})` };
    case 'sum':
      return orNull(cell.type === 'DOUBLE' ? over('sumKahan', value) : over('sum', `toInt64(${value})`));
    case 'mean':
      return {
        parts: [n, total(cell, value, over)],
        value: ([count = '', sum = '']) => `if(${count} = 0, NULL, toFloat64(${sum}) / ${count})`,
      };
    case 'rate':
      return {
        parts: [cell.kind === 'count' ? n : total(cell, value, over)],
        value: ([sum = '']) => `toFloat64(${sum}) / ${rateSeconds(feature.window)}`,
      };
    case 'variance':
      return variance(feature, n, over('varPopStable', float), (result) => result);
    case 'stddev':
      return variance(feature, n, over('varPopStable', float), (result) => `sqrt(${result})`);
    case 'min':
    case 'max':
      return orNull(over(feature.function, plain(cell, value)));
    case 'first':
      return orNull(over('argMin', plain(cell, value), place));
    case 'last':
      return orNull(over('argMax', plain(cell, value), place));
    default:
      return undefined;
  }
}

type Over = (aggregate: string, ...args: readonly string[]) => RangePart;

/** An integer's sum in 128 bits, which does not wrap. */
function total(cell: Cell, value: string, over: Over): RangePart {
  return cell.type === 'DOUBLE' ? over('sumKahan', value) : over('sum', `toInt128(${value})`);
}

function variance(
  { ddof }: FeatureDefinition,
  n: RangePart,
  population: RangePart,
  of: (sql: string) => string,
): RangeFeature {
  return {
    parts: [n, population],
    value: ([count = '', result = '']) =>
      `if(${count} <= ${ddof} OR ${count} = 0, NULL, ${of(`${result} * ${count} / (toFloat64(${count}) - ${ddof})`)})`,
  };
}

/** Times are microseconds here too, as in rows. */
function plain(cell: Cell, value: string): string {
  return cell.type === 'TIMESTAMP' ? `toUnixTimestamp64Micro(${value})` : value;
}
