import { modelConfig } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { type ConfigField, type ConfigFields, modelConfigFields } from './config-fields.ts';
import { type TreeField, type TreeMessage, type TreeValue, wrongConfig } from './config-tree.ts';
import { treeOfJson } from './json-tree.ts';
import { parseTextFormat } from './text-format.ts';

/**
 * Triton's configuration of a model, from `config.pbtxt`. INVALID_ARGUMENT for what is no configuration; UNSUPPORTED for a field that is Triton's
 * and not served; both say where, and what to do.
 */
export function configOfText(text: string): modelConfig.ModelConfig {
  return messageOf(parseTextFormat(text));
}

/** The same from protobuf's JSON, as clients send it with a load. */
export function configOfJson(json: string): modelConfig.ModelConfig {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `configuration: it is not JSON: ${(cause as Error).message}`,
      {},
      { cause },
    );
  }
  return messageOf(treeOfJson(value));
}

function messageOf(tree: TreeMessage): modelConfig.ModelConfig {
  const { dynamicBatching, ...rest } = read(tree, modelConfigFields) as Readonly<Record<string, unknown>>;
  const scheduling = dynamicBatching
    ? { schedulingChoice: { $case: 'dynamicBatching' as const, value: dynamicBatching } }
    : {};
  return modelConfig.ModelConfig.fromPartial({ ...rest, ...scheduling });
}

/** Singular fields may be given once, members of a oneof one of them. */
function read(tree: TreeMessage, of: ConfigFields): Readonly<Record<string, unknown>> {
  const message: Record<string, unknown> = {};
  const seen = new Set<string>();
  for (const given of tree.fields) {
    const name = nameOf(given, of, tree.isJson);
    const field = fieldOf(given, name, of);
    const isRepeated = field.t === 'map' || ('isRepeated' in field && field.isRepeated === true);
    const isMember = of.oneof?.members.includes(name) === true;
    const once = isMember ? `one of ${of.oneof?.members.join(', ')}` : `"${name}"`;
    if (!isRepeated && seen.has(once))
      throw wrongConfig(given.where, `${once} of ${of.name} is given twice`, { field: name });
    seen.add(once);
    if (field.t === 'refused') refuse(given, name, field);
    else if (field.t === 'map')
      message[field.to] = new Map([...mapOf(message[field.to]), ...entriesOf(given, field.of)]);
    else {
      const value = valueIn(given, name, field, tree.isJson);
      if (isRepeated) {
        const values = (message[field.to] ?? []) as unknown[];
        values.push(value);
        message[field.to] = values;
      } else if (isMember && of.oneof) message[of.oneof.to] = { $case: field.to, value };
      else if (field.to !== '') message[field.to] = value;
    }
  }
  return message;
}

function nameOf({ name }: TreeField, of: ConfigFields, isJson: boolean): string {
  if (!isJson || Object.hasOwn(of.fields, name)) return name;
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function fieldOf({ where }: TreeField, name: string, of: ConfigFields): ConfigField {
  const field = Object.hasOwn(of.fields, name) ? of.fields[name] : undefined;
  if (field) return field;
  const served = Object.entries(of.fields).flatMap(([known, { t }]) => (t === 'refused' ? [] : [known]));
  throw wrongConfig(
    where,
    `${of.name} has no field "${name}"; ${served.length > 0 ? `its fields: ${served.join(', ')}` : 'it has none'}`,
    { field: name },
  );
}

function refuse({ value, where }: TreeField, name: string, field: Extract<ConfigField, { t: 'refused' }>): void {
  if (value.t !== 'message' && field.unless?.includes(value.text)) return;
  throw new MeshError('UNSUPPORTED', `configuration, ${where}: "${name}" is not supported: ${field.why}`, {
    where,
    field: name,
  });
}

type ValueField = Exclude<ConfigField, { t: 'refused' } | { t: 'map' }>;

function valueIn({ value, where }: TreeField, name: string, field: ValueField, isJson: boolean): unknown {
  if (value.t === 'text' && !isJson && field.t !== 'string')
    throw wrongConfig(where, `"${name}" takes no text in quotes`, { field: name });
  switch (field.t) {
    case 'message':
      return read(messageAt(value, name, where), field.of);
    case 'string':
      if (value.t !== 'text') throw wrongConfig(where, `"${name}" takes a text in quotes`, { field: name });
      return value.text;
    case 'bool':
      return boolOf(value, name, where);
    case 'enum':
      return enumOf(value, name, where, field.values);
    case 'int32':
    case 'uint32':
      return Number(integerOf(value, name, where, field.t));
    case 'int64':
    case 'uint64':
      return integerOf(value, name, where, field.t);
    default:
      return field satisfies never;
  }
}

function messageAt(value: TreeValue, name: string, where: string): TreeMessage {
  if (value.t === 'message') return value;
  throw wrongConfig(where, `"${name}" takes a message in braces, and "${value.text}" is given`, { field: name });
}

function boolOf(value: TreeValue, name: string, where: string): boolean {
  if (value.t === 'word' && ['true', 'True', 't', '1'].includes(value.text)) return true;
  if (value.t === 'word' && ['false', 'False', 'f', '0'].includes(value.text)) return false;
  throw wrongConfig(where, `"${name}" takes true or false`, { field: name });
}

function enumOf(value: TreeValue, name: string, where: string, values: Readonly<Record<string, number>>): number {
  const text = value.t === 'message' ? '{' : value.text;
  const found = Object.hasOwn(values, text)
    ? values[text]
    : Object.values(values).find((number) => String(number) === text);
  if (found !== undefined) return found;
  throw wrongConfig(where, `"${name}" cannot be "${text}"; it takes ${Object.keys(values).join(', ')}`, {
    field: name,
  });
}

const ranges = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
} as const;

/** Decimal, hexadecimal and octal; in JSON a text of digits too. */
function integerOf(value: TreeValue, name: string, where: string, type: keyof typeof ranges): bigint {
  const text = value.t === 'message' ? '{' : value.text;
  const [, sign, digits] = /^(-?)(0[xX][\da-fA-F]+|\d+)$/.exec(text) ?? [];
  if (digits === undefined || (value.t === 'text' && !/^-?\d+$/.test(text)))
    throw wrongConfig(where, `"${name}" takes a whole number, and "${text}" is given`, { field: name });
  if (/^0\d*[89]/.test(digits)) throw wrongConfig(where, `"${text}" is not an octal number`, { field: name });
  const isOctal = value.t === 'word' && /^0[0-7]+$/.test(digits);
  const magnitude = BigInt(isOctal ? `0o${digits.slice(1)}` : digits);
  const integer = sign === '-' ? -magnitude : magnitude;
  const [least, most] = ranges[type];
  if (integer >= least && integer <= most) return integer;
  throw wrongConfig(where, `"${name}" takes ${least} to ${most}, and ${text} is given`, { field: name });
}

function mapOf(given: unknown): ReadonlyMap<string, unknown> {
  return given instanceof Map ? given : new Map();
}

/** An entry `{key: …, value: …}` of the text format, or all entries of a JSON object. */
function entriesOf({ name, value, where }: TreeField, of: ConfigFields): readonly (readonly [string, unknown])[] {
  const tree = messageAt(value, name, where);
  const entry = (given: TreeField) => read(messageAt(given.value, given.name, given.where), of);
  if (tree.isJson) return tree.fields.map((given) => [given.name, entry(given)] as const);
  const known = tree.fields.find(({ name: part }) => part !== 'key' && part !== 'value');
  if (known)
    throw wrongConfig(known.where, `an entry of "${name}" has key and value, and no "${known.name}"`, {
      field: known.name,
    });
  const [key, keyAgain] = tree.fields.filter(({ name: part }) => part === 'key');
  const [mapped, mappedAgain] = tree.fields.filter(({ name: part }) => part === 'value');
  const again = keyAgain ?? mappedAgain;
  if (again) throw wrongConfig(again.where, `"${again.name}" is given twice`, { field: name });
  if (key && key.value.t !== 'text') throw wrongConfig(key.where, 'a key is a text in quotes', { field: name });
  const text = key?.value.t === 'text' ? key.value.text : '';
  return [[text, mapped ? entry(mapped) : {}]];
}
