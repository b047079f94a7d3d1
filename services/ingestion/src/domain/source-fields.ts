import { definitions } from '@millrace/contracts';
import type { SourceField } from '@millrace/features';

/** The fields of a source in the words of libs/features and libs/history. */
export function sourceFields(spec: definitions.Source): SourceField[] {
  return spec.fields.map(({ name, type, nullable }) => ({ name, type: fieldType(name, type), nullable }));
}

function fieldType(name: string, type: definitions.FieldType): SourceField['type'] {
  switch (type) {
    case definitions.FieldType.BOOL:
      return 'BOOL';
    case definitions.FieldType.INT64:
      return 'INT64';
    case definitions.FieldType.DOUBLE:
      return 'DOUBLE';
    case definitions.FieldType.STRING:
      return 'STRING';
    case definitions.FieldType.TIMESTAMP:
      return 'TIMESTAMP';
    default:
      throw new TypeError(`field "${name}" has no type`);
  }
}
