import { createHash } from 'node:crypto';
import { definitions } from '@millrace/contracts';
import { avroFields } from './avro/fields.ts';
import { parseAvro } from './avro/schema.ts';
import { SchemaError } from './bad-payload.ts';
import type { PayloadField, PayloadFields } from './payload-field.ts';
import { protobufFields } from './protobuf/fields.ts';
import { parseMessage } from './protobuf/message.ts';

/** The values of a payload as fields of a source. Throws SchemaError. */
export function payloadFields({ format }: definitions.PayloadSchema): PayloadFields {
  if (format === undefined) throw new SchemaError('the payload has no schema; set avro or protobuf');
  return format.$case === 'avro'
    ? avroFields(parseAvro(format.value.schemaJson))
    : protobufFields(parseMessage(format.value).message);
}

/** What of a payload's schema affects values: Avro's documentation is for people. */
export function payloadIdentity(payload: definitions.PayloadSchema): unknown {
  const { format } = payload;
  if (format?.$case === 'avro') {
    const { schemaJson, confluentId } = format.value;
    return { avro: undocumented(schemaJson), ...(confluentId === 0 ? {} : { confluentId }) };
  }
  if (format?.$case !== 'protobuf') return {};
  const { descriptorSet, message } = format.value;
  return { message, descriptorSet: createHash('sha256').update(descriptorSet).digest('hex') };
}

function undocumented(schemaJson: string): unknown {
  try {
    return JSON.parse(schemaJson, (key, value) => (key === 'doc' && typeof value === 'string' ? undefined : value));
  } catch {
    return schemaJson;
  }
}

const typeNames = new Map(Object.entries(definitions.FieldType).map(([name, value]) => [value, name]));

/** Everything that keeps a source's fields from being those of its payload's schema. */
export function payloadProblems(source: definitions.Source): { readonly path: string; readonly problem: string }[] {
  if (source.payload === undefined) return [];
  let known: PayloadFields;
  try {
    known = payloadFields(source.payload);
  } catch (cause) {
    if (!(cause instanceof SchemaError)) throw cause;
    return [{ path: 'payload', problem: cause.message }];
  }
  const twice = duplicates(known.fields);
  const byName = new Map(known.fields.map((field) => [field.field, field]));
  const unfit = new Map(known.unfit.map((field) => [field.field, field]));
  return source.fields.flatMap(({ name, type }) => {
    const path = `fields.${name}`;
    const other = twice.get(name);
    if (other !== undefined)
      return [{ path, problem: `is both "${other[0]}" and "${other[1]}" of the payload; rename one of them there` }];
    const field = byName.get(name);
    const why = unfit.get(name)?.why;
    if (field === undefined && why !== undefined)
      return [{ path, problem: `"${unfit.get(name)?.path}" of the payload ${why}` }];
    if (field === undefined) {
      const names = [...byName.keys()].slice(0, 30).join(', ');
      return [
        {
          path,
          problem: `is not in the schema of the payload, which has ${names || 'no field that a source can have'}`,
        },
      ];
    }
    if (field.type === type || widened(field, type)) return [];
    return [
      {
        path,
        problem: `is ${typeNames.get(type)} where "${field.path}" of the payload is ${typeNames.get(field.type)}`,
      },
    ];
  });
}

/** Whole numbers may be kept as DOUBLE, or be times in microseconds. */
function widened({ type }: PayloadField, wanted: definitions.FieldType): boolean {
  const { DOUBLE, INT64, TIMESTAMP } = definitions.FieldType;
  return type === INT64 && (wanted === DOUBLE || wanted === TIMESTAMP);
}

/** Names that several places of a payload have, with the first two places. */
export function duplicates(fields: readonly PayloadField[]): ReadonlyMap<string, readonly [string, string]> {
  const first = new Map<string, string>();
  const twice = new Map<string, readonly [string, string]>();
  for (const { field, path } of fields) {
    const other = first.get(field);
    if (other !== undefined) twice.set(field, [other, path]);
    else first.set(field, path);
  }
  return twice;
}

/**
 * The fields that a source has which names none of its own: all that its payload's schema has. Throws SchemaError where some are none of a
 * source's types.
 */
export function derivedFields(payload: definitions.PayloadSchema, eventTimeField: string): definitions.SourceField[] {
  const { fields, unfit } = payloadFields(payload);
  const problems = unfit.map(({ path, why }) => `"${path}" ${why}`);
  for (const [name, [one, other]] of duplicates(fields))
    problems.push(`"${one}" and "${other}" are both field "${name}"`);
  if (problems.length > 0)
    throw new SchemaError(
      `${problems.join('; ')}; or name the fields that the source takes, and the rest is passed over`,
    );
  return fields.map(({ field, type, nullable, fallback }) =>
    definitions.SourceField.fromPartial({
      name: field,
      type,
      // an event always has a time
      nullable: nullable && field !== eventTimeField,
      ...(fallback === undefined ? {} : { defaultValue: toValue(fallback, type) }),
    }),
  );
}

function toValue(value: string | number | boolean, type: definitions.FieldType): definitions.Value {
  if (typeof value === 'boolean') return { kind: { $case: 'boolValue', value } };
  if (type === definitions.FieldType.STRING) return { kind: { $case: 'stringValue', value: String(value) } };
  if (type === definitions.FieldType.DOUBLE) return { kind: { $case: 'doubleValue', value: Number(value) } };
  return { kind: { $case: 'int64Value', value: BigInt(value) } };
}
