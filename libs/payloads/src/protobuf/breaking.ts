import { type DescEnum, type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { FeatureSet_FieldPresence } from '@bufbuild/protobuf/wkt';
import type { Message } from './message.ts';

/** A change that breaks readers or writers; `rule` is buf's name for it. */
export type Breaking = { readonly rule: string; readonly path: string; readonly what: string };

/**
 * Buf's breaking rules of the category WIRE_JSON, over the message and everything that it is made of: what is written before is read
 * after and the other way round, in binary and in JSON.
 */
export function breakingChanges(before: Message, after: Message): Breaking[] {
  const found: Breaking[] = [];
  const packages = [before.message.file.proto.package, after.message.file.proto.package] as const;
  if (packages[0] !== packages[1])
    found.push({ rule: 'FILE_SAME_PACKAGE', path: '', what: `package: "${packages[0]}" -> "${packages[1]}"` });
  const messages = new Set<DescMessage>();
  const enums = new Set<DescEnum>();
  reach(before.message, messages, enums);
  for (const was of messages) {
    const now = was === before.message ? after.message : after.registry.getMessage(was.typeName);
    if (now !== undefined) found.push(...messageChanges(was, now, was === before.message ? '' : `${was.name}.`));
  }
  for (const was of enums) {
    const now = after.registry.getEnum(was.typeName);
    if (now !== undefined) found.push(...enumChanges(was, now));
  }
  return found;
}

function reach(message: DescMessage, messages: Set<DescMessage>, enums: Set<DescEnum>): void {
  if (messages.has(message)) return;
  messages.add(message);
  for (const field of message.fields) {
    if (field.enum !== undefined) enums.add(field.enum);
    if (field.message !== undefined) reach(field.message, messages, enums);
  }
}

function messageChanges(was: DescMessage, now: DescMessage, at: string): Breaking[] {
  const fields = new Map(now.fields.map((field) => [field.number, field]));
  const { reservedName, reservedRange } = now.proto;
  const found = was.fields.flatMap((field): Breaking[] => {
    const path = `${at}${field.name}`;
    const next = fields.get(field.number);
    if (next !== undefined) return fieldChanges(field, next, path);
    const gone: Breaking[] = [];
    if (!reservedName.includes(field.name))
      gone.push({
        rule: 'FIELD_NO_DELETE_UNLESS_NAME_RESERVED',
        path,
        what: `removed, its name not reserved; write: reserved "${field.name}"`,
      });
    if (!reservedRange.some(({ start, end }) => field.number >= start && field.number < end))
      gone.push({
        rule: 'FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED',
        path,
        what: `removed, its number not reserved; write: reserved ${field.number}`,
      });
    return gone;
  });
  const ranges = (message: DescMessage) => [
    ...message.proto.reservedRange.map(({ start, end }) => ({ start, end: end - 1 })),
  ];
  found.push(
    ...unreserved(was.proto.reservedName, reservedName, ranges(was), ranges(now), at, 'RESERVED_MESSAGE_NO_DELETE'),
  );
  const lost = was.fields
    .filter(isRequired)
    .filter(({ number }) => !now.fields.some((field) => field.number === number && isRequired(field)));
  const won = now.fields
    .filter(isRequired)
    .filter(({ number }) => !was.fields.some((field) => field.number === number && isRequired(field)));
  for (const { name } of [...lost, ...won])
    found.push({
      rule: 'MESSAGE_SAME_REQUIRED_FIELDS',
      path: `${at}${name}`,
      what: 'is required in one of them alone',
    });
  return found;
}

function isRequired({ presence }: DescField): boolean {
  return presence === FeatureSet_FieldPresence.LEGACY_REQUIRED;
}

/** Names and ranges that are not reserved any more; ranges have both ends in them. */
function unreserved(
  wasNames: readonly string[],
  nowNames: readonly string[],
  was: readonly Range[],
  now: readonly Range[],
  at: string,
  rule: string,
): Breaking[] {
  const names = wasNames.filter((name) => !nowNames.includes(name)).map((name) => `"${name}"`);
  const ranges = was
    .filter((range) => !covered(range, now))
    .map(({ start, end }) => (start === end ? `${start}` : `${start} to ${end}`));
  return [...names, ...ranges].map((what) => ({
    rule,
    path: at.replace(/\.$/, ''),
    what: `${what} is not reserved any more`,
  }));
}

type Range = { readonly start: number; readonly end: number };

function covered({ start, end }: Range, ranges: readonly Range[]): boolean {
  let next = start;
  for (const range of ranges.toSorted((a, b) => a.start - b.start)) {
    if (range.start > next) return false;
    if (range.end >= next) next = range.end + 1;
    if (next > end) return true;
  }
  return false;
}

function fieldChanges(was: DescField, now: DescField, path: string): Breaking[] {
  const found: Breaking[] = [];
  const add = (rule: string, what: string) => found.push({ rule, path, what });
  if (was.name !== now.name) add('FIELD_SAME_NAME', `name: ${was.name} -> ${now.name}`);
  if (was.jsonName !== now.jsonName) add('FIELD_SAME_JSON_NAME', `JSON name: ${was.jsonName} -> ${now.jsonName}`);
  if (oneofOf(was) !== oneofOf(now))
    add('FIELD_SAME_ONEOF', `oneof: ${oneofOf(was) || 'none'} -> ${oneofOf(now) || 'none'}`);
  if (cardinalityOf(was) !== cardinalityOf(now))
    add('FIELD_WIRE_JSON_COMPATIBLE_CARDINALITY', `${cardinalityOf(was)} -> ${cardinalityOf(now)}`);
  const types = typeChange(was, now);
  if (types !== '') add('FIELD_WIRE_JSON_COMPATIBLE_TYPE', `type: ${types}`);
  if (defaultOf(was) !== defaultOf(now)) add('FIELD_SAME_DEFAULT', `default: ${defaultOf(was)} -> ${defaultOf(now)}`);
  return found;
}

/** The oneof that the author wrote; `optional` of proto3 makes one of its own. */
function oneofOf({ proto, parent }: DescField): string {
  if (proto.proto3Optional || !Object.hasOwn(proto, 'oneofIndex')) return '';
  return parent.proto.oneofDecl[proto.oneofIndex]?.name ?? '';
}

function cardinalityOf(field: DescField): string {
  if (isRequired(field)) return 'required';
  return field.fieldKind === 'list' ? 'repeated' : field.fieldKind === 'map' ? 'map' : 'singular';
}

/** Numbers that JSON writes in the same way and binary reads as each other. */
const groups: readonly (readonly ScalarType[])[] = [
  [ScalarType.INT32, ScalarType.UINT32],
  [ScalarType.INT64, ScalarType.UINT64],
  [ScalarType.FIXED32, ScalarType.SFIXED32],
  [ScalarType.FIXED64, ScalarType.SFIXED64],
];

function typeChange(was: DescField, now: DescField): string {
  const change = `${typeName(was)} -> ${typeName(now)}`;
  if (was.fieldKind === 'map' && now.fieldKind === 'map') {
    const keys = alike(was.mapKey, now.mapKey);
    return keys && valueFits(was, now) ? '' : change;
  }
  // an entry of a map against a message: what the entries are does not count
  if (was.fieldKind === 'map' || now.fieldKind === 'map') return change;
  if (was.proto.type !== now.proto.type) return alike(was.proto.type, now.proto.type) ? '' : change;
  return valueFits(was, now) ? '' : change;
}

function valueFits(was: DescField, now: DescField): boolean {
  if (was.enum !== undefined && now.enum !== undefined)
    return was.enum.typeName === now.enum.typeName || sameValues(was.enum, now.enum);
  if (was.message !== undefined || now.message !== undefined) return was.message?.typeName === now.message?.typeName;
  return was.scalar !== undefined && now.scalar !== undefined && alike(was.scalar, now.scalar);
}

function alike(was: number, now: number): boolean {
  return was === now || groups.some((group) => group.includes(was) && group.includes(now));
}

/** Another enum of the same short name that has all the values. */
function sameValues(was: DescEnum, now: DescEnum): boolean {
  return (
    was.name === now.name &&
    was.values.every(({ name, number }) => now.values.some((value) => value.name === name && value.number === number))
  );
}

function typeName(field: DescField): string {
  const map = field.fieldKind === 'map' ? 'map of ' : '';
  if (field.enum !== undefined) return `${map}enum ${field.enum.typeName}`;
  if (field.message !== undefined) return `${map}message ${field.message.typeName}`;
  return `${map}${ScalarType[field.scalar]?.toLowerCase() ?? '?'}`;
}

/** A default that is the type's zero is the same as none. */
function defaultOf({ proto }: DescField): string {
  const given = Object.hasOwn(proto, 'defaultValue') ? proto.defaultValue : '';
  return /^(0|-?0\.?0*|false)$/.test(given) && proto.type !== 9 ? '' : given;
}

function enumChanges(was: DescEnum, now: DescEnum): Breaking[] {
  const found: Breaking[] = [];
  const { reservedName, reservedRange } = now.proto;
  for (const number of new Set(was.values.map((value) => value.number))) {
    const names = was.values.filter((value) => value.number === number).map(({ name }) => name);
    const next = now.values.filter((value) => value.number === number).map(({ name }) => name);
    const path = `${was.name}.${names[0]}`;
    if (next.length > 0) {
      if (!names.every((name) => next.includes(name)))
        found.push({
          rule: 'ENUM_VALUE_SAME_NAME',
          path,
          what: `value ${number}: ${names.join(', ')} -> ${next.join(', ')}`,
        });
      continue;
    }
    for (const name of names)
      if (!reservedName.includes(name))
        found.push({
          rule: 'ENUM_VALUE_NO_DELETE_UNLESS_NAME_RESERVED',
          path,
          what: `removed, its name not reserved; write: reserved "${name}"`,
        });
    if (!reservedRange.some(({ start, end }) => number >= start && number <= end))
      found.push({
        rule: 'ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED',
        path,
        what: `removed, its number not reserved; write: reserved ${number}`,
      });
  }
  found.push(
    ...unreserved(
      was.proto.reservedName,
      reservedName,
      was.proto.reservedRange,
      reservedRange,
      `${was.name}.`,
      'RESERVED_ENUM_NO_DELETE',
    ),
  );
  return found;
}
