import { definitions } from '@millrace/contracts';
import { Unreadable } from '../bad-payload.ts';
import type { Cursor } from '../cursor.ts';
import type { PayloadField } from '../payload-field.ts';
import { fallbackOf, fieldTypeOf, timeUnitsUs, valuesOf } from './fields.ts';
import { branchFor, readerFields } from './resolution.ts';
import type { AvroRecord, AvroType } from './schema.ts';
import { branchOf, lengthOf, skipOf } from './skip.ts';

export type Fields = Record<string, unknown>;
/** Reads the next value of the payload into the fields. */
type Step = (cursor: Cursor, out: Fields) => void;

/**
 * Decides once how a record that one schema wrote becomes the fields of another: what is not wanted is passed over, what the writer does
 * not have gets its default. `wanted` are the reader's, by path.
 */
export function avroDecoder(
  reader: AvroRecord,
  writer: AvroRecord,
  wanted: ReadonlyMap<string, PayloadField>,
): (cursor: Cursor) => Fields {
  const steps = recordSteps(reader, writer, '', wanted);
  return (cursor) => {
    const out: Fields = {};
    for (const step of steps) step(cursor, out);
    return out;
  };
}

type Wanted = ReadonlyMap<string, PayloadField>;

function recordSteps(reader: AvroRecord, writer: AvroRecord, path: string, wanted: Wanted): Step[] {
  const at = (name: string) => (path === '' ? name : `${path}.${name}`);
  const taken = new Set<string>();
  const steps = writer.fields.map((written): Step => {
    const fields = readerFields(reader, written);
    for (const field of fields) taken.add(field.name);
    const [first, ...more] = fields
      .filter((field) => under(at(field.name), wanted).length > 0)
      .map((field) => valueStep(field.type, written.type, at(field.name), wanted));
    if (first === undefined) return skipOf(written.type);
    return more.length === 0 ? first : readAgain([first, ...more]);
  });
  for (const { name, type, fallback } of reader.fields) {
    if (taken.has(name) || fallback === undefined) continue;
    const defaults: Fields = {};
    putDefault(type, fallback.value, at(name), wanted, defaults);
    if (Object.keys(defaults).length > 0) steps.push((_cursor, out) => void Object.assign(out, defaults));
  }
  return steps;
}

/** One value for several fields. */
function readAgain(steps: readonly Step[]): Step {
  return (cursor, out) => {
    const from = cursor.pos;
    for (const step of steps) {
      cursor.pos = from;
      step(cursor, out);
    }
  };
}

/** The wanted fields at a path and below it. */
function under(path: string, wanted: Wanted): PayloadField[] {
  return [...wanted.values()].filter((field) => field.path === path || field.path.startsWith(`${path}.`));
}

function putDefault(type: AvroType, value: unknown, path: string, wanted: Wanted, out: Fields): void {
  const [first] = valuesOf(type);
  if (value !== null && typeof value === 'object' && first?.t === 'record') {
    for (const field of first.fields) {
      const own = Object.hasOwn(value, field.name) ? (value as Fields)[field.name] : field.fallback?.value;
      putDefault(field.type, own, `${path}.${field.name}`, wanted, out);
    }
    return;
  }
  for (const field of under(path, wanted)) out[field.field] = fallbackOf(value, valuesOf(type), field.type) ?? null;
}

function valueStep(reader: AvroType, writer: AvroType, path: string, wanted: Wanted): Step {
  if (writer.t !== 'union') return plainStep(reader, writer, path, wanted);
  const branches = writer.branches.map((branch) => plainStep(reader, branch, path, wanted));
  const field = under(path, wanted)[0]?.field ?? '';
  return (cursor, out) => {
    cursor.field = field;
    (branches[branchOf(cursor, branches.length)] as Step)(cursor, out);
  };
}

/** Of one branch of the writer. */
function plainStep(reader: AvroType, writer: AvroType, path: string, wanted: Wanted): Step {
  const fields = under(path, wanted);
  const target = reader.t === 'union' ? branchFor(reader.branches, writer) : reader;
  const [first] = fields;
  const field = first?.field ?? '';
  const cannot: Step = () => {
    throw new Unreadable(
      'WRONG_TYPE',
      field,
      `field "${field}" is ${writer.t}, which the current schema does not read as ${reader.t}`,
    );
  };
  if (target === undefined) return cannot;
  if (target.t === 'record') {
    if (writer.t !== 'record') return cannot;
    const steps = recordSteps(target, writer, path, wanted);
    return (cursor, out) => {
      for (const step of steps) step(cursor, out);
    };
  }
  if (writer.t === 'null') {
    const names = fields.map((each) => each.field);
    return target.t !== 'null'
      ? cannot
      : (_cursor, out) => {
          for (const name of names) out[name] = null;
        };
  }
  const read = first === undefined ? undefined : readerOf(first, target, writer);
  if (read === undefined) return cannot;
  return (cursor, out) => {
    cursor.field = field;
    out[field] = read(cursor);
  };
}

type Read = (cursor: Cursor) => unknown;
const { DOUBLE, INT64, TIMESTAMP } = definitions.FieldType;

/** Undefined where the writer's type is none of the field's. */
function readerOf(field: PayloadField, reader: AvroType, writer: AvroType): Read | undefined {
  switch (writer.t) {
    case 'boolean':
      return reader.t === 'boolean' ? readBoolean : undefined;
    case 'int':
    case 'long':
      return numberReader(field.type, reader, writer);
    case 'float':
      return field.type === DOUBLE ? (cursor) => cursor.float() : undefined;
    case 'double':
      return field.type === DOUBLE ? (cursor) => cursor.double() : undefined;
    case 'string':
    case 'bytes':
      return reader.t === 'string' ? (cursor) => cursor.text(lengthOf(cursor)) : undefined;
    case 'enum':
      return reader.t === 'enum' ? enumReader(field.field, reader, writer) : undefined;
    default:
      return undefined;
  }
}

function readBoolean(cursor: Cursor): boolean {
  const byte = cursor.byte();
  if (byte > 1) throw cursor.malformed(`is the byte ${byte}, which is no boolean; the payload is of another schema`);
  return byte === 1;
}

function numberReader(type: definitions.FieldType, reader: AvroType, writer: AvroType): Read | undefined {
  if (type === INT64) return (cursor) => cursor.zigzag();
  if (type === DOUBLE) return (cursor) => Number(cursor.zigzag());
  if (type !== TIMESTAMP) return undefined;
  // the writer knows its unit; a plain number is in the reader's
  const own = fieldTypeOf(writer) === TIMESTAMP ? writer : reader;
  const unitUs = timeUnitsUs['logical' in own ? own.logical : ''] ?? 1;
  if (unitUs === 1) return (cursor) => cursor.zigzag();
  return (cursor) => Math.floor(Number(cursor.zigzag()) * unitUs);
}

function enumReader(
  field: string,
  reader: Extract<AvroType, { t: 'enum' }>,
  writer: Extract<AvroType, { t: 'enum' }>,
): Read {
  const known = new Set(reader.symbols);
  const symbols = writer.symbols.map((symbol) => (known.has(symbol) ? symbol : reader.fallback));
  return (cursor) => {
    const at = Number(cursor.zigzag());
    const symbol = symbols[at];
    if (symbol !== undefined) return symbol;
    if (at >= 0 && at < symbols.length)
      throw new Unreadable(
        'NOT_IN_ENUM',
        field,
        `field "${field}" is "${writer.symbols[at]}", which enum "${reader.name}" does not have any more; add the symbol again or give the enum a default`,
      );
    throw cursor.malformed(`is symbol ${at} of an enum of ${symbols.length}; the payload is of another schema`);
  };
}
