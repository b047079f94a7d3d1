import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import { definitions } from '@millrace/contracts';
import { fieldName } from '@millrace/kernel';
import type { PayloadField, PayloadFields, Unfit } from '../payload-field.ts';

const { BOOL, DOUBLE, INT64, STRING, TIMESTAMP } = definitions.FieldType;
const { BOOL: BOOL_, BYTES, DOUBLE: DOUBLE_, FLOAT, STRING: STRING_ } = ScalarType;

export const timestampName = 'google.protobuf.Timestamp';
const wrapperName = /^google\.protobuf\.(Double|Float|U?Int(32|64)|Bool|String|Bytes)Value$/;

/** The one field of a wrapper, as google.protobuf.Int64Value. */
export function wrapped(message: DescMessage): DescField | undefined {
  return wrapperName.test(message.typeName) ? message.fields[0] : undefined;
}

/** The values of a message as fields of a source; nested messages are flattened. */
export function protobufFields(message: DescMessage): PayloadFields {
  const fields: PayloadField[] = [];
  const unfit: Unfit[] = [];
  walk(message, { path: '', nullable: false, open: [] }, fields, unfit);
  return { fields, unfit };
}

type Place = { readonly path: string; readonly nullable: boolean; readonly open: readonly DescMessage[] };

function walk(message: DescMessage, place: Place, fields: PayloadField[], unfit: Unfit[]): void {
  for (const desc of message.fields) {
    const path = place.path === '' ? desc.name : `${place.path}.${desc.name}`;
    const field = fieldName(path);
    const inner = desc.fieldKind === 'message' ? desc.message : undefined;
    if (inner !== undefined && inner.typeName !== timestampName && wrapped(inner) === undefined) {
      const open = [...place.open, message];
      const why = unfitMessage(inner, open);
      if (why !== '') unfit.push({ field, path, why });
      else walk(inner, { path, nullable: true, open }, fields, unfit);
      continue;
    }
    const type = fieldTypeOf(desc);
    if (typeof type === 'string') {
      unfit.push({ field, path, why: type });
      continue;
    }
    const implicit = desc.presence === FeatureSet_FieldPresence.IMPLICIT;
    const required = desc.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED;
    const nullable = place.nullable || !(implicit || required);
    fields.push({ field, path, type, nullable, fallback: implicit && !nullable ? zeroOf(desc) : undefined });
  }
}

function unfitMessage(inner: DescMessage, open: readonly DescMessage[]): string {
  if (open.includes(inner))
    return `is message "${inner.typeName}" inside itself, which has no end; leave it out of the fields`;
  if (/^google\.protobuf\.(Any|Struct|Value|ListValue|Duration|FieldMask)$/.test(inner.typeName))
    return `is ${inner.typeName}; send its values as fields of their own`;
  return '';
}

/** The field type, or why there is none. */
function fieldTypeOf(desc: DescField): definitions.FieldType | string {
  switch (desc.fieldKind) {
    case 'enum':
      return STRING;
    case 'scalar':
      return scalarType(desc.scalar);
    case 'message': {
      if (desc.message.typeName === timestampName) return TIMESTAMP;
      const inner = wrapped(desc.message);
      return inner?.fieldKind === 'scalar' ? scalarType(inner.scalar) : 'is a message';
    }
    case 'list':
      return 'is repeated; send an event for each element, or fields of their own';
    case 'map':
      return 'is a map; send fields of their own';
    default:
      return desc satisfies never;
  }
}

function scalarType(scalar: ScalarType): definitions.FieldType | string {
  if (scalar === BOOL_) return BOOL;
  if (scalar === STRING_) return STRING;
  if (scalar === DOUBLE_ || scalar === FLOAT) return DOUBLE;
  return scalar === BYTES ? 'is bytes; send text or numbers' : INT64;
}

/** What a field without presence is when it is left out. */
export function zeroOf(desc: DescField): string | number | boolean | undefined {
  if (desc.fieldKind === 'enum') return desc.enum.values.find(({ number }) => number === 0)?.name;
  if (desc.fieldKind !== 'scalar') return undefined;
  if (desc.scalar === BOOL_) return false;
  return desc.scalar === STRING_ ? '' : 0;
}
