import { MeshError } from '@millrace/kernel';
import type { Plan, PlannedKey } from './plan.ts';
import { type RequestDataColumn, requestRows } from './request-data.ts';

export type KeyValues = readonly string[] | Float64Array | readonly (number | bigint)[] | readonly boolean[];

/** One join key's column as the caller sent it; `kind` is what the values are. */
export type RequestKey = {
  readonly name: string;
  readonly kind: 'STRING' | 'INT64' | 'BOOL' | 'EMPTY';
  readonly values: readonly (string | number | bigint | boolean)[];
  /** The first row whose key is null, or -1. */
  readonly nullRow: number;
};

export type ReadRequest = {
  /** Read instead of the one that the registry has for the service, by surfaces that compile their own. */
  readonly plan?: Plan;
  readonly featureService: string;
  /** Empty: the current one. */
  readonly version: string;
  readonly keys: readonly RequestKey[];
  /** 0: the server's clock. */
  readonly asOfUs: number;
  /** Empty, or a read time for each row. */
  readonly asOfUsByRow: Float64Array;
  readonly allowPartial: boolean;
  readonly allowHistory: boolean;
  readonly omitMetadata: boolean;
  /** For services that declare request fields; left out: none. */
  readonly requestData?: readonly RequestDataColumn[];
};

/** The columns of the plan's keys, in the plan's order, all of one length. */
export type BoundKeys = { readonly rows: number; readonly columns: readonly RequestKey[] };

/** Checks a request against its plan. */
export function bindKeys(plan: Plan, request: ReadRequest, rowsMax: number): BoundKeys {
  for (const key of request.keys) {
    if (!plan.keys.some((planned) => planned.name === key.name)) throw unknownKey(plan, key.name);
  }
  // all are known: more of them than the plan has means that one is there twice
  if (request.keys.length > plan.keys.length) throw repeatedKey(request.keys);
  let rows = -1;
  const columns = new Array<RequestKey>(plan.keys.length);
  for (let i = 0; i < plan.keys.length; i++) {
    const planned = plan.keys[i] as PlannedKey;
    const column = keyNamed(request.keys, planned.name);
    if (!column) throw missingKey(plan, planned.name);
    if (column.kind !== planned.type && column.kind !== 'EMPTY') throw wrongType(planned, column.kind);
    if (column.nullRow >= 0) throw nullKey(planned.name, column.nullRow);
    if (rows >= 0 && column.values.length !== rows) {
      throw new MeshError(
        'INVALID_ARGUMENT',
        `join key "${planned.name}" has ${column.values.length} values and "${plan.keys[0]?.name}" has ${rows}; every join key needs one value for each row`,
        { joinKey: planned.name, values: column.values.length, rows },
      );
    }
    rows = column.values.length;
    columns[i] = column;
  }
  if (plan.keys.length === 0) rows = requestRows(request.requestData ?? []);
  checkRows(rows, rowsMax);
  if (request.asOfUsByRow.length !== 0 && request.asOfUsByRow.length !== rows) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `as_of_us_by_row has ${request.asOfUsByRow.length} values for ${rows} rows; send one for each row, or none`,
      { field: 'as_of_us_by_row', values: request.asOfUsByRow.length, rows },
    );
  }
  return { rows, columns };
}

/** Refuses a request for no row or for too many. */
export function checkRows(rows: number, rowsMax: number): void {
  if (rows <= 0) {
    throw new MeshError('INVALID_ARGUMENT', 'the request has 0 rows; send at least one value for each join key', {
      field: 'keys',
      rows: 0,
    });
  }
  if (rows > rowsMax) {
    throw new MeshError(
      'TOO_MANY_ROWS',
      `the request has ${rows} rows and the limit is ${rowsMax}; split it into requests of at most ${rowsMax} rows`,
      { field: 'keys', rows, limit: rowsMax },
    );
  }
}

/** The read time of every row. */
export function asOfColumn(request: ReadRequest, rows: number, nowUs: number): Float64Array {
  const column =
    request.asOfUsByRow.length > 0 ? request.asOfUsByRow : new Float64Array(rows).fill(request.asOfUs || nowUs);
  for (let row = 0; row < rows; row++) {
    const asOfUs = column[row] as number;
    if (!(asOfUs > 0 && asOfUs <= Number.MAX_SAFE_INTEGER)) {
      throw new MeshError(
        'INVALID_ARGUMENT',
        `read time ${asOfUs} of row ${row} is not a time; send UTC microseconds since 1970, larger than 0`,
        { field: 'as_of_us', row, value: asOfUs },
      );
    }
  }
  return column;
}

export function nullKey(name: string, row: number): MeshError {
  return new MeshError(
    'NULL_JOIN_KEY',
    `join key "${name}" of row ${row} is null; every row needs a value for every join key`,
    { joinKey: name, row },
  );
}

export function missingKey(plan: Plan, name: string): MeshError {
  return new MeshError(
    'MISSING_JOIN_KEY',
    `join key "${name}" is missing; feature service "${plan.name}" needs ${keyList(plan)}`,
    { joinKey: name, featureService: plan.name },
  );
}

export function unknownKey(plan: Plan, name: string): MeshError {
  return new MeshError(
    'UNKNOWN_JOIN_KEY',
    `join key "${name}" is not one of feature service "${plan.name}"; it needs ${keyList(plan)}`,
    { joinKey: name, featureService: plan.name },
  );
}

function repeatedKey(keys: readonly RequestKey[]): MeshError {
  const name = keys.find((key, i) => keys.findIndex((other) => other.name === key.name) < i)?.name ?? '';
  return new MeshError('INVALID_ARGUMENT', `join key "${name}" is there twice; send one column of all its values`, {
    joinKey: name,
  });
}

export function wrongType(key: PlannedKey, kind: string): MeshError {
  return new MeshError(
    'WRONG_TYPE',
    `join key "${key.name}" was sent as ${kind} and is ${key.type}; send ${key.type} values`,
    {
      joinKey: key.name,
      sent: kind,
      type: key.type,
    },
  );
}

function keyList(plan: Plan): string {
  return plan.keys.map((key) => `"${key.name}" (${key.type})`).join(', ');
}

function keyNamed(keys: readonly RequestKey[], name: string): RequestKey | undefined {
  for (const key of keys) if (key.name === name) return key;
  return undefined;
}
