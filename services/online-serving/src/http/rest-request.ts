import { MeshError } from '@millrace/kernel';
import type { z } from 'zod';
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
import { requestColumns, requestText } from './rest-request-data.ts';
import { type ReadBody, type RequestRow, readBody, readQuery } from './rest-schemas.ts';
import { parseTimeUs } from './rest-time.ts';

/** The largest number of rows that REST takes, whatever the configuration. */
const rowsMax = 10_000;

export type RestRead = { readonly read: ReadRequest; readonly int64As: 'number' | 'string' };

/** A JSON body → the same request that gRPC makes. The version of the path, when there is one, is what is meant. */
export async function parseReadBody(
  plans: PlanBook,
  name: string,
  pathVersion: string | undefined,
  body: unknown,
): Promise<RestRead> {
  const parsed = readBody.safeParse(body ?? {});
  if (!parsed.success) {
    throw notARead('body', parsed.error, 'send {"entities":[{"<join key>":<value>}],"as_of":"2001-03-01T12:00:00Z"}');
  }
  const { version: bodyVersion } = parsed.data;
  if (pathVersion !== undefined && bodyVersion !== '' && bodyVersion !== pathVersion) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `the path says version "${pathVersion}" and the body "${bodyVersion}"; leave one out`,
      { field: 'version', path: pathVersion, body: bodyVersion },
    );
  }
  const version = pathVersion ?? bodyVersion;
  const plan = plans.current(name, version) ?? (await plans.load(name, version));
  return readOf(plan, version, parsed.data);
}

/** The parameters of a URL → a read of one row: a parameter that is no option is a join key. */
export async function parseReadQuery(
  plans: PlanBook,
  name: string,
  pathVersion: string | undefined,
  query: Readonly<Record<string, unknown>>,
): Promise<RestRead> {
  const parsed = readQuery.safeParse(query);
  if (!parsed.success) throw notARead('query', parsed.error, 'send ?<join key>=<value>&as_of=2001-03-01T12:00:00Z');
  const { as_of, int64_as, allow_partial, allow_history } = parsed.data;
  const version = pathVersion ?? '';
  const plan = plans.current(name, version) ?? (await plans.load(name, version));
  const requestFields = new Map(plan.derivation?.requestFields.map(({ name, type }) => [name, type]));
  const given = Object.entries(query).filter(([key]) => !Object.hasOwn(readQuery.shape, key));
  const isKey = (key: string) => plan.keys.some(({ name }) => name === key) || !requestFields.has(key);
  const entity = given.filter(([key]) => isKey(key));
  const requestData = given.filter(([key]) => requestFields.has(key));
  return readOf(plan, version, {
    entities: [Object.fromEntries(entity.map(([key, value]) => [key, typedText(plan, key, value)]))],
    request_data: [
      Object.fromEntries(
        requestData.map(([key, value]) => [key, requestText(requestFields.get(key), typedText(plan, key, value))]),
      ),
    ],
    as_of,
    int64_as,
    allow_partial: allow_partial === 'true',
    allow_history: allow_history === 'true',
  });
}

function readOf(plan: Plan, version: string, body: Omit<ReadBody, 'version'>): RestRead {
  const { entities, as_of: asOf, request_data: requestData } = body;
  const rows = plan.keys.length === 0 && Array.isArray(requestData) ? requestData.length : entities.length;
  checkRows(rows, rowsMax);
  for (const entity of entities) {
    for (const key of Object.keys(entity)) {
      if (!plan.keys.some((planned) => planned.name === key)) throw unknownKey(plan, key);
    }
  }
  const read: ReadRequest = {
    featureService: plan.name,
    version,
    keys: plan.keys.map((key) => columnOf(plan, key, entities)),
    asOfUs: asOf === undefined || Array.isArray(asOf) ? 0 : parseTimeUs(asOf),
    asOfUsByRow: Array.isArray(asOf) ? Float64Array.from(asOf, (time) => parseTimeUs(time)) : new Float64Array(0),
    allowPartial: body.allow_partial,
    allowHistory: body.allow_history,
    omitMetadata: false,
    requestData: requestColumns(plan, requestData, rows),
  };
  return { read, int64As: body.int64_as };
}

function notARead(where: string, error: z.ZodError, remedy: string): MeshError {
  const issue = error.issues[0];
  const path = issue?.path.join('.') ?? '';
  return new MeshError(
    'INVALID_ARGUMENT',
    `the ${where} is not a read: "${path}": ${issue?.message ?? ''}; ${remedy}`,
    { field: path },
  );
}

/** A URL knows only texts. */
function typedText(plan: Plan, key: string, value: unknown): string | boolean {
  if (typeof value !== 'string') {
    throw new MeshError('INVALID_ARGUMENT', `parameter "${key}" is there more than once; for many rows send a POST`, {
      field: key,
    });
  }
  const isBool = plan.keys.some((planned) => planned.name === key && planned.type === 'BOOL');
  return isBool && (value === 'true' || value === 'false') ? value === 'true' : value;
}

type Entities = readonly RequestRow[];

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
