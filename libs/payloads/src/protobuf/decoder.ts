import type { DescField, DescMessage } from '@bufbuild/protobuf';
import { Unreadable } from '../bad-payload.ts';
import type { Cursor } from '../cursor.ts';
import type { PayloadField } from '../payload-field.ts';
import { timestampName, wrapped, zeroOf } from './fields.ts';
import { enumReader, lengthOf, type Read, scalarReader, skipField, tagOf, wire } from './wire.ts';

type Fields = Record<string, unknown>;
/** Takes the value of one field number. */
type Take = { readonly type: number; readonly run: (cursor: Cursor, out: Fields) => void };

type Wanted = ReadonlyMap<string, PayloadField>;
type Plan = {
  readonly takes: ReadonlyMap<number, Take>;
  /** What may be passed over: known fields that are not wanted, and reserved numbers, which earlier writers used. */
  readonly passed: (number: number) => boolean;
  /** Values of fields that are left out. */
  readonly zeros: Readonly<Fields>;
};

/** Decides once how a message becomes the fields of a source. `rejectUnknown`: a field number that the message does not have is refused. */
export function protobufDecoder(
  message: DescMessage,
  wanted: Wanted,
  rejectUnknown: boolean,
): (cursor: Cursor) => Fields {
  const plan = planOf(message, '', wanted, rejectUnknown);
  return (cursor) => {
    const out: Fields = { ...plan.zeros };
    readMessage(cursor, plan, out);
    return out;
  };
}

function readMessage(cursor: Cursor, { takes, passed }: Plan, out: Fields): void {
  while (cursor.pos < cursor.end) {
    cursor.field = '';
    const tag = tagOf(cursor);
    const number = tag >>> 3;
    const type = tag % 8;
    const take = takes.get(number);
    // a known number of another wire type is an unknown field, as every protobuf parser has it
    if (take !== undefined && take.type === type) take.run(cursor, out);
    else {
      if (take === undefined && !passed(number)) throw unknownField(number);
      if (take !== undefined) throw wrongWire(cursor, take, number, type);
      skipField(cursor, type, number);
    }
  }
}

function unknownField(number: number): Unreadable {
  return new Unreadable(
    'EXTRA_FIELD',
    `#${number}`,
    `field number ${number} is not in the message of the source; add it to the schema, reserve it, or set extra_fields to ignore`,
  );
}

function wrongWire(cursor: Cursor, { type: wanted }: Take, number: number, type: number): Unreadable {
  return cursor.malformed(
    `has field number ${number} of wire type ${type} where the schema has ${wanted}; it was written with another schema`,
  );
}

function planOf(message: DescMessage, path: string, wanted: Wanted, rejectUnknown: boolean): Plan {
  const takes = new Map<number, Take>();
  const zeros: Fields = {};
  const known = new Set(message.fields.map(({ number }) => number));
  const reserved = message.proto.reservedRange;
  const extended = message.proto.extensionRange;
  const passed = (number: number) =>
    !rejectUnknown ||
    known.has(number) ||
    [...reserved, ...extended].some(({ start, end }) => number >= start && number < end);
  for (const desc of message.fields) {
    const at = path === '' ? desc.name : `${path}.${desc.name}`;
    const fields = under(at, wanted);
    const [first] = fields;
    if (first === undefined) continue;
    const others = oneofOthers(desc, path, wanted);
    takes.set(desc.number, takeOf(desc, at, fields, others, rejectUnknown, wanted));
    if (path === '')
      for (const { field, nullable } of fields) zeros[field] = nullable || first.path !== at ? null : zeroOf(desc);
  }
  return { takes, passed, zeros: defined(zeros) };
}

/** A required field that is left out is missing, not null. */
function defined(zeros: Fields): Fields {
  return Object.fromEntries(Object.entries(zeros).filter(([, value]) => value !== undefined));
}

/** The wanted fields at a path and below it. */
function under(path: string, wanted: Wanted): PayloadField[] {
  return [...wanted.values()].filter((field) => field.path === path || field.path.startsWith(`${path}.`));
}

/** Fields of the other members of a oneof: the last member on the wire is the one that is set. */
function oneofOthers(desc: DescField, path: string, wanted: Wanted): string[] {
  const members = desc.oneof?.fields ?? [];
  if (members.length < 2) return [];
  return members
    .filter((other) => other.number !== desc.number)
    .flatMap((other) => under(path === '' ? other.name : `${path}.${other.name}`, wanted).map(({ field }) => field));
}

function takeOf(
  desc: DescField,
  path: string,
  fields: readonly PayloadField[],
  others: readonly string[],
  rejectUnknown: boolean,
  wanted: Wanted,
): Take {
  const clear = (out: Fields) => {
    for (const other of others) out[other] = null;
  };
  const [first] = fields;
  const inner = desc.fieldKind === 'message' ? desc.message : undefined;
  if (desc.fieldKind === 'message' && inner !== undefined && first?.path !== path) {
    const plan = planOf(inner, path, wanted, rejectUnknown);
    // a member without presence is its zero once the message is there; a message that comes in parts is merged
    const zeros = presentZeros(inner, path, wanted);
    const group = desc.delimitedEncoding;
    return {
      type: group ? wire.startGroup : wire.bytes,
      run(cursor, out) {
        if (others.length > 0) clear(out);
        for (const [field, zero] of zeros) out[field] ??= zero;
        if (group) throw cursor.malformed('is a group, which is not read; use a message');
        inside(cursor, () => readMessage(cursor, plan, out));
      },
    };
  }
  const field = first?.field ?? '';
  const { type, read } = valueReader(desc, field);
  return {
    type,
    run(cursor, out) {
      cursor.field = field;
      if (others.length > 0) clear(out);
      out[field] = read(cursor);
    },
  };
}

function presentZeros(message: DescMessage, path: string, wanted: Wanted): (readonly [string, unknown])[] {
  return message.fields.flatMap((desc) => {
    const field = wanted.get(`${path}.${desc.name}`);
    const zero = field === undefined || desc.presence !== 2 ? undefined : zeroOf(desc);
    return field === undefined || zero === undefined ? [] : [[field.field, zero] as const];
  });
}

/** Reads a length and then what lies in it. */
function inside(cursor: Cursor, read: () => void): void {
  const length = lengthOf(cursor);
  const from = cursor.take(length);
  const { end } = cursor;
  cursor.pos = from;
  cursor.end = from + length;
  cursor.down();
  read();
  cursor.up();
  cursor.end = end;
}

function valueReader(desc: DescField, field: string): { readonly type: number; readonly read: Read } {
  if (desc.fieldKind === 'scalar') return scalarReader(desc.scalar);
  if (desc.fieldKind === 'enum') {
    const unknown = (number: number) =>
      new Unreadable(
        'NOT_IN_ENUM',
        field,
        `field "${field}" is number ${number}, which enum "${desc.enum.typeName}" does not have; add the value to the schema`,
      );
    return { type: wire.varint, read: enumReader(desc, unknown) };
  }
  const message = desc.message as DescMessage;
  const inner = message.typeName === timestampName ? undefined : wrapped(message);
  return { type: wire.bytes, read: inner === undefined ? timestampReader : wrapperReader(inner) };
}

/** Seconds and nanoseconds, both left out when zero; microseconds, what is below them cut off. */
function timestampReader(cursor: Cursor): number {
  let seconds = 0;
  let nanos = 0;
  inside(cursor, () => {
    while (cursor.pos < cursor.end) {
      const tag = tagOf(cursor);
      if (tag === 8) seconds = Number(cursor.int64());
      else if (tag === 16) nanos = Number(cursor.int64());
      else skipField(cursor, tag % 8, tag >>> 3);
    }
  });
  return seconds * 1e6 + Math.floor(nanos / 1e3);
}

function wrapperReader(inner: DescField): Read {
  const { type, read } = scalarReader(inner.fieldKind === 'scalar' ? inner.scalar : 9);
  const tag = inner.number * 8 + type;
  const zero = zeroOf(inner);
  return (cursor) => {
    let value: unknown = zero;
    inside(cursor, () => {
      while (cursor.pos < cursor.end) {
        const next = tagOf(cursor);
        if (next === tag) value = read(cursor);
        else skipField(cursor, next % 8, next >>> 3);
      }
    });
    return value;
  };
}
