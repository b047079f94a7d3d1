import { definitions } from '@millrace/contracts';
import type { FieldSpec } from './fields.ts';

/** A CEL expression over features and `as_of`, the read time; in a feature service also over request fields. */
export type DerivedOption = string | { readonly expression: string; readonly description?: string };

export function derivedToProto(given: Readonly<Record<string, DerivedOption>>): definitions.DerivedFeature[] {
  return Object.entries(given).map(([name, option]) =>
    typeof option === 'string'
      ? { name, expression: option, description: '' }
      : { name, expression: option.expression, description: option.description ?? '' },
  );
}

export type RequestFields = Readonly<Record<string, Pick<FieldSpec, 'type' | 'nullable'>>>;

export function requestToProto(given: RequestFields): definitions.RequestField[] {
  return Object.entries(given).map(([name, { type, nullable }]) => ({
    name,
    type: definitions.FieldType[type],
    nullable: nullable ?? false,
  }));
}
