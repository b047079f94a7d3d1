import type { definitions } from '@millrace/contracts';
import { joinedId, quote } from '@millrace/kernel';
import type { Opened } from './open-payload.ts';
import { isObject, type JsonObject, parseJsonObject } from './parse-json.ts';
import { Problem, problem } from './problem.ts';
import type { RawEvent } from './raw-event.ts';

const upserts: ReadonlySet<unknown> = new Set(['c', 'r', 'u']);

/** True for the envelope, alone or as the payload beside its schema; for who has no source to tell. */
export function isDebezium(object: JsonObject): boolean {
  const envelope = envelopeOf(object);
  return isObject(envelope) && typeof envelope.op === 'string' && ('after' in envelope || 'before' in envelope);
}

/** Where the fields lie in the parsed message: `after`, or `payload.after`. */
export function envelopeOf(object: JsonObject): unknown {
  return 'payload' in object && 'schema' in object ? object.payload : object;
}

/** A message that is a change event of Debezium. */
export function openDebezium(
  event: RawEvent,
  debezium: definitions.Debezium,
  timestamps: ReadonlySet<string>,
): Opened | Problem {
  const object = parseJsonObject(event.payload);
  if (object instanceof Problem) return object;
  const opened = unwrapDebezium(object, debezium, timestamps);
  return opened instanceof Problem ? opened : { ...opened, eventTimeUs: opened.eventTimeUs || event.eventTimeUs };
}

/**
 * `{ before, after, op, ts_ms }`: of `c`, `r` and `u` the row is `after`; of `d` its key lies in `before`. The event time, where no field gives it, is when
 * the database made the change. Times that the Kafka Connect schema calls milli-, nanoseconds or days become microseconds in TIMESTAMP fields.
 */
export function unwrapDebezium(
  object: JsonObject,
  { idColumns }: definitions.Debezium,
  timestamps: ReadonlySet<string>,
): Opened | Problem {
  const envelope = envelopeOf(object);
  if (envelope === null)
    return malformed('payload', 'it is a tombstone for Kafka, with nothing in it; set tombstones.on.delete=false');
  if (!isObject(envelope) || typeof envelope.op !== 'string')
    return malformed(
      'op',
      'it has no op; send the envelope of Debezium whole, not what ExtractNewRecordState makes of it',
    );
  const { op, after, before } = envelope;
  if (op === 'd') {
    const id = idOf(before, 'before', idColumns);
    return id instanceof Problem ? id : { id, eventTimeUs: 0, fields: {}, isDelete: true };
  }
  if (!upserts.has(op))
    return malformed('op', `operation ${quote(op)} changes no single row; only c, r, u and d can be taken`);
  const id = idOf(after, 'after', idColumns);
  if (id instanceof Problem) return id;
  const fields = withTimes(after as JsonObject, object.schema, timestamps);
  return { id, eventTimeUs: changedUs(envelope), fields, isDelete: false };
}

function idOf(row: unknown, name: string, idColumns: readonly string[]): string | Problem {
  if (!isObject(row))
    return problem('MISSING_EVENT_ID', name, `the change has no row in "${name}", so nothing tells which it is`);
  const missing = idColumns.find((column) => row[column] === undefined || row[column] === null || row[column] === '');
  if (missing === undefined) return joinedId(idColumns.map((column) => String(row[column])));
  const columns = Object.keys(row).join(', ');
  const remedy = name === 'before' ? '; give the table a REPLICA IDENTITY that covers it' : '';
  return problem('MISSING_EVENT_ID', missing, `"${name}" has no column "${missing}" (columns: ${columns})${remedy}`);
}

function changedUs({ source, ts_ms: sentMs, ts_us: sentUs }: JsonObject): number {
  const from = isObject(source) ? source : {};
  for (const [value, factor] of [
    [from.ts_us, 1],
    [from.ts_ms, 1000],
    [sentUs, 1],
    [sentMs, 1000],
  ] as const)
    if (Number.isSafeInteger(value) && Number(value) > 0) return Number(value) * factor;
  return 0;
}

/** Microseconds for one of the unit, by the schema's name of it. */
const units: Readonly<Record<string, number>> = {
  'io.debezium.time.Timestamp': 1_000,
  'org.apache.kafka.connect.data.Timestamp': 1_000,
  'io.debezium.time.MicroTimestamp': 1,
  'io.debezium.time.NanoTimestamp': 0.001,
  'io.debezium.time.Date': 86_400e6,
  'org.apache.kafka.connect.data.Date': 86_400e6,
};

function withTimes(row: JsonObject, schema: unknown, timestamps: ReadonlySet<string>): JsonObject {
  const changed: Record<string, unknown> = {};
  for (const { field, name } of columnsOf(schema)) {
    const factor = typeof name === 'string' ? units[name] : undefined;
    if (factor === undefined || typeof field !== 'string' || !timestamps.has(field)) continue;
    const value = row[field];
    if (typeof value === 'number') changed[field] = Math.floor(value * factor);
  }
  return { ...row, ...changed };
}

/** The columns of `after` in a Kafka Connect schema. */
function columnsOf(schema: unknown): readonly JsonObject[] {
  const structs = isObject(schema) && Array.isArray(schema.fields) ? schema.fields.filter(isObject) : [];
  const after = structs.find(({ field }) => field === 'after');
  return Array.isArray(after?.fields) ? after.fields.filter(isObject) : [];
}

function malformed(field: string, why: string): Problem {
  return problem('MALFORMED_PAYLOAD', field, `the message is no change event of Debezium: ${why}`);
}
