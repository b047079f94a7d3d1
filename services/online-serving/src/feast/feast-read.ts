import { MeshError } from '@millrace/kernel';
import type { ReadCall, ReadFeatures } from '../app/read-features.ts';
import type { Matrix } from '../domain/matrix.ts';
import type { Plan, PlannedKey } from '../domain/plan.ts';
import { checkRows, nullKey, type RequestKey, wrongType } from '../domain/request.ts';
import type { RequestDataColumn } from '../domain/request-data.ts';
import type { FeastBook, FeastHead } from './feast-book.ts';
import { timeUsOf } from './field-values.ts';
import type { FeastRead, KeyScalar } from './request.ts';

/** What the encoders write: join keys in the order of the request, then the matrix, column by column. */
export type FeastAnswer = {
  readonly head: FeastHead;
  readonly keys: readonly RequestKey[];
  readonly matrix: Matrix;
};

export type ReadFeast = (request: FeastRead, call: ReadCall) => Promise<FeastAnswer>;

const noTimes = new Float64Array(0);

/** Feast's read: a plan for the service or the list, the keys turned to the types of the plan, and an ordinary read as of now. */
export function createReadFeast(deps: {
  readonly book: FeastBook;
  readonly readFeatures: ReadFeatures;
  readonly rowsMax: number;
}): ReadFeast {
  const { book, readFeatures, rowsMax } = deps;
  return async (request, call) => {
    const entry = book.current(request) ?? (await book.load(request));
    const { plan } = entry;
    const keys = requestKeys(plan, request.entities, rowsMax);
    const head = entry.head(request, keys);
    const matrix = await readFeatures(
      {
        plan,
        featureService: plan.name,
        version: plan.version,
        keys,
        requestData: requestData(plan, request.entities),
        asOfUs: 0,
        asOfUsByRow: noTimes,
        allowPartial: false,
        allowHistory: true,
        omitMetadata: false,
      },
      call,
    );
    return { head, keys, matrix };
  };
}

/** The plan's join keys in the order of the request. What else the request names is left alone, as Feast does. */
function requestKeys(plan: Plan, entities: FeastRead['entities'], rowsMax: number): readonly RequestKey[] {
  const keys: RequestKey[] = [];
  let rows = -1;
  for (const [name, values] of entities) {
    if (rows < 0) {
      rows = values.length;
      checkRows(rows, rowsMax);
    } else if (values.length !== rows) {
      throw new MeshError(
        'INVALID_ARGUMENT',
        `entity "${name}" has ${values.length} values and another has ${rows}; every entity needs one value for each row`,
        { joinKey: name, values: values.length, rows },
      );
    }
    const planned = plannedKey(plan, name, entities);
    if (planned) keys.push(keyColumn(planned, values));
  }
  for (const { name, type } of plan.keys) {
    if (keys.some((key) => key.name === name)) continue;
    throw new MeshError(
      'MISSING_JOIN_KEY',
      `join key "${name}" (${type}) is missing; the request gives ${[...entities.keys()].map((given) => `"${given}"`).join(', ') || 'none'}`,
      { joinKey: name },
    );
  }
  return keys;
}

/** Request data of on-demand features stands among the entities, as in Feast. */
function requestData(plan: Plan, entities: FeastRead['entities']): RequestDataColumn[] {
  return (plan.derivation?.requestFields ?? []).flatMap(({ name, type }): RequestDataColumn[] => {
    const values = entities.get(name);
    if (!values) return [];
    if (type !== 'TIMESTAMP') return [{ name, kind: type, values }];
    const times = values.map((value) => timeUsOf(value));
    return [{ name, kind: 'INT64', values: times.map((timeUs) => (timeUs === undefined ? null : BigInt(timeUs))) }];
  });
}

/** An entity's name stands for its join key where it has only one, as in Feast. */
function plannedKey(plan: Plan, name: string, entities: FeastRead['entities']): PlannedKey | undefined {
  const key = plan.keys.find((known) => known.name === name);
  if (key) return key;
  const entity = plan.entities.find((known) => known.name === name);
  const only = entity?.keys.length === 1 ? plan.keys[entity.keys[0] as number] : undefined;
  return only && !entities.has(only.name) ? only : undefined;
}

function keyColumn(planned: PlannedKey, values: readonly (KeyScalar | null)[]): RequestKey {
  const kind = planned.type === 'STRING' || planned.type === 'BOOL' ? planned.type : 'INT64';
  let converted: KeyScalar[] | undefined;
  for (let row = 0; row < values.length; row++) {
    const value = values[row] as KeyScalar | null;
    if (isReady(kind, value)) {
      if (converted) converted.push(value as KeyScalar);
      continue;
    }
    converted ??= values.slice(0, row) as KeyScalar[];
    converted.push(keyValue(planned, kind, value, row));
  }
  return { name: planned.name, kind, values: converted ?? (values as readonly KeyScalar[]), nullRow: -1 };
}

/** True when the value needs no conversion. */
function isReady(kind: RequestKey['kind'], value: KeyScalar | null): boolean {
  switch (typeof value) {
    case 'number':
      return kind === 'INT64' && Number.isSafeInteger(value);
    case 'string':
      return kind === 'STRING';
    case 'boolean':
      return kind === 'BOOL';
    default:
      return false;
  }
}

function keyValue(planned: PlannedKey, kind: RequestKey['kind'], value: KeyScalar | null, row: number): KeyScalar {
  if (value === null || value === undefined) throw nullKey(planned.name, row);
  if (kind === 'INT64') {
    if (typeof value === 'bigint' && BigInt.asIntN(64, value) === value) return shrink(value);
    if (typeof value === 'string' && /^\s*-?\d{1,19}\s*$/.test(value)) {
      const exact = BigInt(value.trim());
      if (BigInt.asIntN(64, exact) === exact) return shrink(exact);
    }
  }
  throw wrongType(planned, typeof value === 'object' ? 'an object' : `${typeof value} "${value}"`);
}

/** Integers are numbers where they are exact, so that keys are found however they were sent. */
function shrink(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
