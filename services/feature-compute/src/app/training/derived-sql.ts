import { type FeatureType, finiteSql } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import type { ServiceShape, ShapeField, ShapeInput, ShapeStep } from '@millrace/registry';
import { sqlLiteral, sqlName, sqlType } from '../sql.ts';
import type { LabelColumn } from './labels.ts';

// names that no label column and no feature has
export const asOf = sqlName('#as_of');
export const read = (at: number) => sqlName(`#r${at}`);
export const readStatus = (at: number) => sqlName(`#rs${at}`);
export const step = (at: number) => sqlName(`#s${at}`);
export const stepStatus = (at: number) => sqlName(`#ss${at}`);
const requestField = (at: number) => sqlName(`#q${at}`);
export const joinKey = (name: string) => sqlName(`#k${name}`);

/**
 * Derived features around a query that gives `asOf`, the reads and the request fields: those that rest on earlier ones are in a query around the
 * query. Statuses are those that are served: of no value NOT_FOUND when something that it rests on is, of a value DEFAULTED when something is.
 */
export function withSteps(
  given: string,
  { steps, readTypes }: ServiceShape,
  withStatuses: boolean,
  /** Left out: all. */
  only?: ReadonlySet<number>,
): string {
  const layers: string[][] = [];
  const depths: number[] = [];
  for (const [at, each] of steps.entries()) {
    const depth = Math.max(0, ...each.inputs.map((input) => (input.t === 'step' ? (depths[input.at] ?? 0) + 1 : 0)));
    depths.push(depth);
    if (only && !only.has(at)) continue;
    layers[depth] ??= [];
    layers[depth].push(...stepSql(each, at, readTypes, withStatuses));
  }
  // an array passes over places that were left out
  return layers.reduce((inner, layer) => `SELECT *, ${layer.join(', ')} FROM (${inner})`, given);
}

function stepSql(
  { expression, inputs, reference }: ShapeStep,
  at: number,
  readTypes: readonly FeatureType[],
  withStatuses: boolean,
): string[] {
  const inputOf = new Map(expression.uses.map((use, place) => [use, inputs[place] as ShapeInput]));
  const sql = expression.sql((use) => inputSql(inputOf.get(use) as ShapeInput, readTypes));
  const fallback = reference?.defaultValue?.kind?.value;
  const value = `${fallback === undefined ? sql : `ifNull(${sql}, ${defaultSql(fallback, expression.type)})`} AS ${step(at)}`;
  if (!withStatuses) return [value];
  const statuses = inputs.flatMap((input) =>
    input.t === 'read' ? [readStatus(input.at)] : input.t === 'step' ? [stepStatus(input.at)] : [],
  );
  const some = (status: string) => `has([${["''", ...statuses].join(', ')}], '${status}')`;
  const without =
    fallback === undefined
      ? `multiIf(${some('STALE')}, 'STALE', ${some('NOT_FOUND')}, 'NOT_FOUND', 'NULL')`
      : `'DEFAULTED'`;
  return [
    value,
    `if(isNull(${sql}), ${without}, multiIf(${some('STALE')}, 'STALE', ${some('DEFAULTED')}, 'DEFAULTED', 'PRESENT')) AS ${stepStatus(at)}`,
  ];
}

export function inputSql(input: ShapeInput, readTypes: readonly FeatureType[]): string {
  switch (input.t) {
    case 'read':
      return readTypes[input.at] === 'DOUBLE' ? finiteSql(read(input.at)) : read(input.at);
    case 'step':
      return step(input.at);
    case 'request':
      return requestField(input.at);
    case 'as_of':
      return asOf;
    case 'key':
      return joinKey(input.name);
    default:
      return input satisfies never;
  }
}

/** As online: a number for an integer is cut off, any number for a BOOL is true unless it is 0. */
export function defaultSql(value: string | number | bigint | boolean, type: FeatureType): string {
  if (type === 'STRING') return sqlLiteral(String(value));
  const number = typeof value === 'string' ? Number.NaN : Number(value);
  if (type === 'DOUBLE') return Number.isFinite(number) ? `toFloat64(${number})` : 'nan';
  const whole = typeof value === 'bigint' ? value : BigInt(Number.isFinite(number) ? Math.trunc(number) : 0);
  return type === 'BOOL' ? String(whole !== 0n) : `toInt64('${whole}')`;
}

/** A request field from the label column of its name, as an expression wants it; of another type than the field, what converts exactly. */
export function requestSql({ name, type }: ShapeField, at: number, columns: readonly LabelColumn[]): string {
  const column = columns.find((each) => each.name === name);
  const value = column
    ? converted(`l.${sqlName(name)}`, column.type, type)
    : `CAST(NULL AS Nullable(${sqlType(type)}))`;
  return `${value} AS ${requestField(at)}`;
}

function converted(value: string, from: string, type: ShapeField['type']): string {
  switch (type) {
    case 'DOUBLE':
      return finiteSql(`CAST(${value} AS Nullable(Float64))`);
    case 'INT64':
      return `accurateCastOrNull(${value}, 'Int64')`;
    case 'TIMESTAMP':
      return from.includes('Date')
        ? `toUnixTimestamp64Micro(toDateTime64(${value}, 6, 'UTC'))`
        : `accurateCastOrNull(${value}, 'Int64')`;
    case 'BOOL':
      return `CAST(${value} AS Nullable(Bool))`;
    case 'STRING':
      return `CAST(${value} AS Nullable(String))`;
    default:
      return type satisfies never;
  }
}

/** INVALID_ARGUMENT when labels lack what the service's expressions need. */
export function checkRequestFields({ requestFields }: ServiceShape, columns: readonly LabelColumn[]): void {
  const names = new Set(columns.map(({ name }) => name));
  const missing = requestFields.filter(({ name, nullable }) => !nullable && !names.has(name)).map(({ name }) => name);
  if (missing.length === 0) return;
  throw new MeshError(
    'INVALID_ARGUMENT',
    `labels have no column ${missing.map((name) => `"${name}"`).join(', ')}; they carry the feature service's request fields; they have ${[...names].join(', ')}`,
    { missing: missing.join(',') },
  );
}
