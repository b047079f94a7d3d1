import { parseExactJson, quote } from '@millrace/kernel';
import { SchemaError } from '../bad-payload.ts';

export type AvroField = {
  readonly name: string;
  readonly aliases: readonly string[];
  type: AvroType;
  /** Undefined: none. */
  readonly fallback: { readonly value: unknown } | undefined;
};

type Named = { readonly name: string; readonly aliases: readonly string[] };
const primitives = ['null', 'boolean', 'int', 'long', 'float', 'double', 'bytes', 'string'] as const;
export type AvroPrimitive = (typeof primitives)[number];

export type AvroRecord = Named & { readonly t: 'record'; readonly fields: AvroField[] };
export type AvroEnum = Named & {
  readonly t: 'enum';
  readonly symbols: readonly string[];
  readonly fallback: string | undefined;
};
export type AvroType =
  | { readonly t: AvroPrimitive; readonly logical: string; readonly scale?: number }
  | AvroRecord
  | AvroEnum
  | (Named & { readonly t: 'fixed'; readonly size: number; readonly logical: string; readonly scale: number })
  | { readonly t: 'array'; readonly items: AvroType }
  | { readonly t: 'map'; readonly values: AvroType }
  | { readonly t: 'union'; readonly branches: readonly AvroType[] };

type Scope = { readonly names: Map<string, AvroType>; readonly namespace: string; readonly depth: number };
type Json = Readonly<Record<string, unknown>>;

export const schemaBytesMax = 256 * 1024;
const depthMax = 32;
const name = /^[A-Za-z_][A-Za-z0-9_]*$/;
const fullName = /^([A-Za-z_][A-Za-z0-9_]*\.)*[A-Za-z_][A-Za-z0-9_]*$/;

/** The record that a schema's JSON describes. Throws SchemaError that says where it is not Avro. */
export function parseAvro(schemaJson: string): AvroRecord {
  if (schemaJson.length > schemaBytesMax)
    throw new SchemaError(
      `the Avro schema has ${schemaJson.length} characters, more than the limit of ${schemaBytesMax}`,
    );
  let json: unknown;
  try {
    json = parseExactJson(schemaJson);
  } catch (cause) {
    throw new SchemaError(`the Avro schema is not JSON: ${(cause as Error).message}`);
  }
  const type = parseType(json, { names: new Map(), namespace: '', depth: 0 });
  if (type.t !== 'record') throw new SchemaError(`the Avro schema is ${type.t}; an event is a record of fields`);
  return type;
}

function parseType(json: unknown, scope: Scope): AvroType {
  if (scope.depth > depthMax) throw new SchemaError(`the Avro schema is nested deeper than ${depthMax}`);
  if (typeof json === 'string') return reference(json, scope);
  if (Array.isArray(json)) return union(json, deeper(scope));
  if (typeof json !== 'object' || json === null) throw new SchemaError(`${quote(json)} is not an Avro type`);
  const given = json as Json;
  const logical = typeof given.logicalType === 'string' ? given.logicalType : '';
  switch (given.type) {
    case 'record':
    case 'error':
      return record(given, deeper(scope));
    case 'enum':
      return enumeration(given, scope);
    case 'fixed': {
      const { size } = given;
      if (!Number.isInteger(size) || (size as number) < 0)
        throw new SchemaError(`fixed ${quote(given.name)} has no size`);
      return named(given, scope, (called) => ({
        t: 'fixed',
        ...called,
        size: size as number,
        logical,
        scale: scaleOf(given),
      }));
    }
    case 'array':
      return { t: 'array', items: parseType(given.items, deeper(scope)) };
    case 'map':
      return { t: 'map', values: parseType(given.values, deeper(scope)) };
    default: {
      if (given.type === undefined) throw new SchemaError(`${quote(json)} has no Avro type`);
      const inner = parseType(given.type, deeper(scope));
      return logical !== '' && 'logical' in inner ? { ...inner, logical, scale: scaleOf(given) } : inner;
    }
  }
}

/** Of a decimal: how many of its digits are behind the point. */
function scaleOf({ scale }: Json): number {
  return Number.isInteger(scale) && (scale as number) >= 0 && (scale as number) <= 1_000 ? (scale as number) : 0;
}

function deeper(scope: Scope): Scope {
  return { ...scope, depth: scope.depth + 1 };
}

function reference(text: string, { names, namespace }: Scope): AvroType {
  const primitive = primitives.find((each) => each === text);
  if (primitive !== undefined) return { t: primitive, logical: '' };
  const known = names.get(qualify(text, namespace)) ?? names.get(text);
  if (known === undefined)
    throw new SchemaError(`"${text}" is no Avro type and no name that the schema defined before`);
  return known;
}

function union(json: readonly unknown[], scope: Scope): AvroType {
  const branches = json.map((branch) => parseType(branch, scope));
  if (branches.length === 0) throw new SchemaError('an Avro union has at least one type');
  const seen = new Set<string>();
  for (const branch of branches) {
    if (branch.t === 'union') throw new SchemaError('an Avro union lies directly in another one');
    const key = 'name' in branch ? branch.name : branch.t;
    if (seen.has(key)) throw new SchemaError(`an Avro union has "${key}" twice`);
    seen.add(key);
  }
  return { t: 'union', branches };
}

function record(given: Json, scope: Scope): AvroRecord {
  const fields: AvroField[] = [];
  const type = named(given, scope, (called): AvroRecord => ({ t: 'record', ...called, fields }));
  if (!Array.isArray(given.fields)) throw new SchemaError(`record ${quote(given.name)} has no list of fields`);
  // names inside are in the record's own namespace, and may refer to itself
  const inside = { ...scope, namespace: type.name.slice(0, Math.max(type.name.lastIndexOf('.'), 0)) };
  const seen = new Set<string>();
  for (const each of given.fields as readonly unknown[]) {
    const field = (each ?? {}) as Json;
    if (typeof field.name !== 'string' || !name.test(field.name))
      throw new SchemaError(`record "${type.name}" has a field named ${quote(field.name)}; use letters, digits and _`);
    if (seen.has(field.name)) throw new SchemaError(`record "${type.name}" has two fields "${field.name}"`);
    seen.add(field.name);
    const fieldType = parseType(field.type, inside);
    const fallback = Object.hasOwn(field, 'default') ? { value: field.default } : undefined;
    if (fallback !== undefined && !fits(fallback.value, fieldType))
      throw new SchemaError(
        `field "${field.name}" of record "${type.name}" has the default ${quote(fallback.value)}, which is not of its type; a union's default is of its first type`,
      );
    fields.push({ name: field.name, aliases: texts(field.aliases), type: fieldType, fallback });
  }
  return type;
}

function enumeration(given: Json, scope: Scope): AvroType {
  const symbols = texts(given.symbols);
  if (symbols.length === 0 || new Set(symbols).size !== symbols.length)
    throw new SchemaError(`enum ${quote(given.name)} has no symbols, or one twice`);
  const { default: fallback } = given;
  if (fallback !== undefined && !symbols.includes(String(fallback)))
    throw new SchemaError(`enum ${quote(given.name)} has the default ${quote(fallback)}, which is not a symbol of it`);
  return named(given, scope, (called) => ({
    t: 'enum',
    ...called,
    symbols,
    fallback: typeof fallback === 'string' ? fallback : undefined,
  }));
}

function named<T extends AvroType>(given: Json, { names, namespace }: Scope, make: (called: Named) => T): T {
  const { name: own, namespace: given_ } = given;
  if (typeof own !== 'string' || !fullName.test(own))
    throw new SchemaError(
      `${quote(own)} is not the name of an Avro type; use letters, digits and _, with dots between`,
    );
  const called = qualify(own, typeof given_ === 'string' ? given_ : namespace);
  if (names.has(called)) throw new SchemaError(`the Avro schema defines "${called}" twice`);
  const type = make({ name: called, aliases: texts(given.aliases) });
  names.set(called, type);
  return type;
}

function qualify(text: string, namespace: string): string {
  return text.includes('.') || namespace === '' ? text : `${namespace}.${text}`;
}

/** The last part of a name. */
export function unqualified(text: string): string {
  return text.slice(text.lastIndexOf('.') + 1);
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each): each is string => typeof each === 'string') : [];
}

/** Whether a default is of the type. */
function fits(value: unknown, type: AvroType): boolean {
  const whole = typeof value === 'bigint' || Number.isInteger(value);
  switch (type.t) {
    case 'null':
      return value === null;
    case 'boolean':
      return typeof value === 'boolean';
    case 'int':
      return whole && Number(value) >= -(2 ** 31) && Number(value) < 2 ** 31;
    case 'long':
      return whole && BigInt.asIntN(64, BigInt(value as number)) === BigInt(value as number);
    case 'float':
    case 'double':
      return typeof value === 'number' || typeof value === 'bigint';
    case 'bytes':
    case 'string':
    case 'fixed':
      return typeof value === 'string';
    case 'enum':
      return typeof value === 'string' && type.symbols.includes(value);
    case 'array':
      return Array.isArray(value) && value.every((each) => fits(each, type.items));
    case 'map':
      return isJson(value) && Object.values(value).every((each) => fits(each, type.values));
    case 'union':
      return fits(value, type.branches[0] as AvroType);
    case 'record':
      return (
        isJson(value) &&
        type.fields.every((field) =>
          Object.hasOwn(value, field.name) ? fits(value[field.name], field.type) : field.fallback !== undefined,
        )
      );
    default:
      return type satisfies never;
  }
}

function isJson(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
