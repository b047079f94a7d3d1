import { type AvroField, type AvroRecord, type AvroType, unqualified } from './schema.ts';

/** Something of the writer's schema that the reader's cannot take; `path` is the reader's. */
export type Misfit = { readonly path: string; readonly why: string };

/**
 * Avro's schema resolution ("Specifications", Schema Resolution): everything that keeps a reader from reading what a writer wrote; empty
 * when it can. Names are compared without their namespaces, with the reader's aliases. A writer's union, or enum, is read when each of
 * its branches, or symbols, is.
 */
export function misfits(reader: AvroType, writer: AvroType): Misfit[] {
  return compare(reader, writer, '', new Set());
}

/** Pairs of records that are being compared already: a schema may refer to itself. */
type Open = ReadonlySet<string>;

function compare(reader: AvroType, writer: AvroType, path: string, open: Open): Misfit[] {
  if (writer.t === 'union') return writer.branches.flatMap((branch) => compare(reader, branch, path, open));
  if (reader.t === 'union') {
    if (branchFor(reader.branches, writer, open) !== undefined) return [];
    const [alike, other] = reader.branches.filter(({ t }) => t === writer.t);
    // the one branch that is meant says more exactly what does not fit
    if (alike !== undefined && other === undefined) return compare(alike, writer, path, open);
    return [{ path, why: `${nameOf(writer)} is in no branch of the union ${reader.branches.map(nameOf).join(', ')}` }];
  }
  if (reader.t === 'record' && writer.t === 'record' && sameName(reader, writer))
    return records(reader, writer, path, open);
  if (reader.t === 'array' && writer.t === 'array') return compare(reader.items, writer.items, path, open);
  if (reader.t === 'map' && writer.t === 'map') return compare(reader.values, writer.values, path, open);
  if (reader.t === 'enum' && writer.t === 'enum' && sameName(reader, writer)) {
    const lost = writer.symbols.filter((symbol) => !reader.symbols.includes(symbol));
    if (lost.length === 0 || reader.fallback !== undefined) return [];
    return [{ path, why: `enum "${reader.name}" has no symbol ${lost.slice(0, 8).join(', ')} and no default` }];
  }
  if (reader.t === 'fixed' && writer.t === 'fixed' && sameName(reader, writer) && reader.size === writer.size)
    return [];
  if (promotes(reader.t, writer.t)) return [];
  return [{ path, why: `${nameOf(writer)} cannot be read as ${nameOf(reader)}` }];
}

function records(reader: AvroRecord, writer: AvroRecord, path: string, open: Open): Misfit[] {
  const key = `${reader.name}\n${writer.name}`;
  if (open.has(key)) return [];
  const inside = new Set([...open, key]);
  return reader.fields.flatMap((field): Misfit[] => {
    const at = path === '' ? field.name : `${path}.${field.name}`;
    const [from, second] = writerFields(field, writer);
    if (second !== undefined)
      return [{ path: at, why: `its aliases name both "${from?.name}" and "${second.name}" of the writer` }];
    if (from !== undefined) return compare(field.type, from.type, at, inside);
    return field.fallback === undefined ? [{ path: at, why: 'it is not in the writer and has no default' }] : [];
  });
}

/** The writer's fields that a reader's field takes, by its name and aliases; more than one is ambiguous. */
function writerFields({ name, aliases }: AvroField, writer: AvroRecord): AvroField[] {
  const names = new Set([name, ...aliases]);
  return writer.fields.filter((field) => names.has(field.name));
}

/** The reader's fields that take one of the writer's: an alias may name what another field has too. */
export function readerFields(reader: AvroRecord, written: AvroField): AvroField[] {
  return reader.fields.filter(({ name, aliases }) => name === written.name || aliases.includes(written.name));
}

/** The branch of a reader's union that reads a type: one that is the same before the first one that can be. */
export function branchFor(
  branches: readonly AvroType[],
  writer: AvroType,
  open: Open = new Set(),
): AvroType | undefined {
  const can = branches.filter((branch) => compare(branch, writer, '', open).length === 0);
  return can.find(({ t }) => t === writer.t) ?? can[0];
}

const promotions: Readonly<Record<string, readonly string[]>> = {
  int: ['long', 'float', 'double'],
  long: ['float', 'double'],
  float: ['double'],
  string: ['bytes'],
  bytes: ['string'],
};

const primitive: ReadonlySet<string> = new Set([
  'null',
  'boolean',
  'int',
  'long',
  'float',
  'double',
  'bytes',
  'string',
]);

function promotes(reader: string, writer: string): boolean {
  return (reader === writer && primitive.has(reader)) || (promotions[writer]?.includes(reader) ?? false);
}

function sameName(
  reader: AvroType & { name: string; aliases: readonly string[] },
  writer: { readonly name: string },
): boolean {
  const wanted = unqualified(writer.name);
  return [reader.name, ...reader.aliases].some((each) => unqualified(each) === wanted);
}

function nameOf(type: AvroType): string {
  if ('name' in type) return `${type.t} "${type.name}"`;
  return type.t === 'union' ? `a union of ${type.branches.map(nameOf).join(', ')}` : type.t;
}
