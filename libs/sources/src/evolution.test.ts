import { definitions } from '@millrace/contracts';
import avro from 'avsc';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { allows, compatibilityRule, retiredFields, schemaDeltas } from './evolution.ts';

const { BOOL, DOUBLE, INT64, STRING } = definitions.FieldType;
type Part = Parameters<typeof definitions.SourceField.fromPartial>[0];
const schema = (...fields: Part[]) => definitions.Source.fromPartial({ fields });
const fits = (mode: definitions.Compatibility, before: definitions.Source, after: definitions.Source) =>
  schemaDeltas(before, after).every((delta) => allows(compatibilityRule(mode), delta));

const { BACKWARD, FORWARD, FULL, NONE } = definitions.Compatibility;
const base: Part = { name: 'id', type: STRING };
const doubleValue = { kind: { $case: 'doubleValue', value: 1.5 } } as const;

/** The table of Confluent's modes, and what a source can change besides. */
const table: readonly [what: string, before: Part[], after: Part[], backward: boolean, forward: boolean][] = [
  ['nothing', [base], [base], true, true],
  ['a nullable field is added', [base], [base, { name: 'x', type: DOUBLE, nullable: true }], true, true],
  [
    'a field with a default is added',
    [base],
    [base, { name: 'x', type: DOUBLE, defaultValue: doubleValue }],
    true,
    true,
  ],
  ['a required field is added', [base], [base, { name: 'x', type: DOUBLE }], false, true],
  ['a required field is deleted', [base, { name: 'x', type: DOUBLE }], [base], true, false],
  ['a nullable field is deleted', [base, { name: 'x', type: DOUBLE, nullable: true }], [base], true, true],
  ['INT64 is widened to DOUBLE', [{ name: 'x', type: INT64 }], [{ name: 'x', type: DOUBLE }], true, false],
  ['DOUBLE is narrowed to INT64', [{ name: 'x', type: DOUBLE }], [{ name: 'x', type: INT64 }], false, true],
  ['text becomes a number', [{ name: 'x', type: STRING }], [{ name: 'x', type: INT64 }], false, false],
  ['a field becomes nullable', [{ name: 'x', type: BOOL }], [{ name: 'x', type: BOOL, nullable: true }], true, false],
  ['a field becomes required', [{ name: 'x', type: BOOL, nullable: true }], [{ name: 'x', type: BOOL }], false, true],
  [
    'a value is allowed besides',
    [{ name: 'x', type: STRING, enumValues: ['a'] }],
    [{ name: 'x', type: STRING, enumValues: ['a', 'b'] }],
    true,
    false,
  ],
  [
    'any value is allowed',
    [{ name: 'x', type: STRING, enumValues: ['a'] }],
    [{ name: 'x', type: STRING }],
    true,
    false,
  ],
  ['a range is narrowed', [{ name: 'x', type: DOUBLE, max: 9 }], [{ name: 'x', type: DOUBLE, max: 8 }], false, true],
  ['a range is widened', [{ name: 'x', type: DOUBLE, max: 9 }], [{ name: 'x', type: DOUBLE }], true, false],
  [
    'a default goes',
    [{ name: 'x', type: DOUBLE, defaultValue: doubleValue }],
    [{ name: 'x', type: DOUBLE }],
    false,
    true,
  ],
];

test.each(table)('%s', (_what, before, after, backward, forward) => {
  const [old, now] = [schema(...before), schema(...after)];
  expect(fits(BACKWARD, old, now)).toBe(backward);
  expect(fits(FORWARD, old, now)).toBe(forward);
  expect(fits(FULL, old, now)).toBe(backward && forward);
  expect(fits(NONE, old, now)).toBe(true);
});

/** A schema in Avro's words: nullable is a union with null whose default is null. */
function toAvro({ fields }: definitions.Source): avro.Schema {
  return {
    type: 'record',
    name: 'event',
    fields: fields.map(({ name, type, nullable, enumValues, defaultValue }) => {
      const bare =
        enumValues.length > 0
          ? { type: 'enum' as const, name: `${name}_values`, symbols: enumValues }
          : type === INT64
            ? 'long'
            : type === DOUBLE
              ? 'double'
              : type === BOOL
                ? 'boolean'
                : 'string';
      if (nullable) return { name, type: ['null', bare], default: null };
      return defaultValue === undefined
        ? { name, type: bare }
        : { name, type: bare, default: defaultValue.kind?.value };
    }),
  } as avro.Schema;
}

function avroReads(reader: definitions.Source, writer: definitions.Source): boolean {
  try {
    avro.Type.forSchema(toAvro(reader)).createResolver(avro.Type.forSchema(toAvro(writer)));
    return true;
  } catch {
    return false;
  }
}

test('backward and forward are what Avro’s own resolver says of the schemas, over random pairs', () => {
  const shapes: readonly Part[] = [
    { type: INT64 },
    { type: INT64, nullable: true },
    { type: DOUBLE },
    { type: DOUBLE, nullable: true },
    { type: DOUBLE, defaultValue: doubleValue },
    { type: STRING },
    { type: BOOL },
    { type: STRING, enumValues: ['a'] },
    { type: STRING, enumValues: ['a', 'b'] },
  ];
  const fieldsOf = fc
    .array(fc.tuple(fc.constantFrom('p', 'q', 'r'), fc.constantFrom(...shapes)), { maxLength: 3 })
    .map((given) => schema(base, ...[...new Map(given)].map(([name, shape]) => ({ name, ...shape }))));
  const seen = { yes: 0, no: 0 };
  fc.assert(
    fc.property(fieldsOf, fieldsOf, (before, after) => {
      const pairs = after.fields.map(
        (field) => [before.fields.find(({ name }) => name === field.name), field] as const,
      );
      // Avro does not read an enum as text, nor substitutes a default for a null
      const outside = pairs.some(
        ([was, now]) =>
          was !== undefined &&
          ((was.type === STRING &&
            now.type === STRING &&
            (was.enumValues.length === 0) !== (now.enumValues.length === 0)) ||
            was.defaultValue !== undefined ||
            now.defaultValue !== undefined),
      );
      fc.pre(!outside);
      const backward = avroReads(after, before);
      expect(fits(BACKWARD, before, after)).toBe(backward);
      expect(fits(FORWARD, before, after)).toBe(avroReads(before, after));
      seen[backward ? 'yes' : 'no']++;
    }),
    { numRuns: 3_000 },
  );
  expect(Math.min(seen.yes, seen.no)).toBeGreaterThan(100);
});

test('fields that are gone stay known, however often the schema changes', () => {
  const first = schema(base, { name: 'x', type: DOUBLE }, { name: 'y', type: DOUBLE });
  const second = { ...schema(base, { name: 'y', type: DOUBLE }), retiredFields: ['x'] };
  expect(retiredFields(first, second)).toEqual(['x']);
  expect(retiredFields(second, schema(base))).toEqual(['x', 'y']);
  expect(retiredFields(second, schema(base, { name: 'x', type: DOUBLE }))).toEqual(['y']);
});
