import { MeshError } from '@millrace/kernel';
import { z } from 'zod';
import type { PlanBook } from '../app/plan-book.ts';
import type { Plan, PlannedKey } from '../domain/plan.ts';
import {
  checkRows,
  missingKey,
  nullKey,
  type ReadRequest,
  type RequestKey,
  unknownKey,
  wrongType,
} from '../domain/request.ts';

const timeSchema = z.union([z.string(), z.number()]);
const bodySchema = z.strictObject({
  entities: z.array(z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]))),
  version: z.string().default(''),
  as_of: z.union([timeSchema, z.array(timeSchema)]).optional(),
  allow_partial: z.boolean().default(false),
  // people want the value; a program that wants speed says so
  allow_history: z.boolean().default(true),
});

/** The largest number of rows that REST takes, whatever the configuration. */
const rowsMax = 10_000;

/** A JSON body → the same request that gRPC makes. */
export async function parseRestRead(
  plans: PlanBook,
  name: string,
  body: unknown,
): Promise<{ plan: Plan; read: ReadRequest }> {
  const parsed = bodySchema.safeParse(body ?? {});
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const path = issue?.path.join('.') ?? '';
    throw new MeshError(
      'INVALID_ARGUMENT',
      `the body is not a read: "${path}": ${issue?.message ?? ''}; send {"entities":[{"<join key>":<value>}],"as_of":"2001-03-01T12:00:00Z"}`,
      { field: path },
    );
  }
  const { entities, version, as_of: asOf, allow_partial: allowPartial, allow_history: allowHistory } = parsed.data;
  const plan = plans.current(name, version) ?? (await plans.load(name, version));
  checkRows(entities.length, rowsMax);
  for (const entity of entities) {
    for (const key of Object.keys(entity)) {
      if (!plan.keys.some((planned) => planned.name === key)) throw unknownKey(plan, key);
    }
  }
  const read: ReadRequest = {
    featureService: name,
    version,
    keys: plan.keys.map((key) => columnOf(plan, key, entities)),
    asOfUs: asOf === undefined || Array.isArray(asOf) ? 0 : parseTimeUs(asOf),
    asOfUsByRow: Array.isArray(asOf) ? Float64Array.from(asOf, parseTimeUs) : new Float64Array(0),
    allowPartial,
    allowHistory,
    omitMetadata: false,
  };
  return { plan, read };
}

type Entities = readonly Readonly<Record<string, string | number | boolean | null>>[];

function columnOf(plan: Plan, key: PlannedKey, entities: Entities): RequestKey {
  const values = entities.map((entity, row) => {
    const value = entity[key.name];
    if (value === undefined) throw missingKey(plan, key.name);
    if (value === null) throw nullKey(key.name, row);
    return keyValue(key, value);
  });
  return {
    name: key.name,
    kind: key.type === 'STRING' || key.type === 'BOOL' ? key.type : 'INT64',
    values,
    nullRow: -1,
  };
}

/** Integers beyond 2^53 come as strings. */
function keyValue(key: PlannedKey, value: string | number | boolean): string | number | bigint | boolean {
  switch (key.type) {
    case 'STRING':
      if (typeof value === 'string') return value;
      break;
    case 'BOOL':
      if (typeof value === 'boolean') return value;
      break;
    default:
      if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
      if (typeof value === 'string' && /^-?\d{1,19}$/.test(value)) {
        const exact = BigInt(value);
        return BigInt.asIntN(53, exact) === exact ? Number(exact) : exact;
      }
  }
  throw wrongType(key, `${typeof value} ${JSON.stringify(value)}`);
}

/** RFC 3339 to the microsecond, or microseconds since 1970. */
function parseTimeUs(time: string | number): number {
  if (typeof time === 'number') return time;
  if (/^\d+$/.test(time)) return Number(time);
  const match = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,6})\d*)?(Z|[+-]\d{2}:\d{2})$/.exec(time);
  const ms = match ? Date.parse(`${match[1]}${match[3]}`) : Number.NaN;
  if (match === null || Number.isNaN(ms)) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `as_of "${time}" is not a time; write RFC 3339 like "2001-03-01T12:00:00Z", or microseconds since 1970`,
      { field: 'as_of', value: time },
    );
  }
  return ms * 1000 + Number((match[2] ?? '').padEnd(6, '0'));
}
