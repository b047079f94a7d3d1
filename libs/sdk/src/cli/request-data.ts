import { definitions, registry, type serving } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import type { Services } from './context.ts';
import { parseTimeUs } from './rows.ts';

/**
 * `['distance=581,733', 'note=x']` → request data of the types that the feature service declares; a single value is repeated for every row, and an
 * empty one is null.
 */
export async function requestColumns(
  services: Services,
  featureService: string,
  pairs: readonly string[],
  keyRows: number,
): Promise<serving.RequestColumn[]> {
  if (pairs.length === 0) return [];
  const given = pairs.map((pair) => {
    const at = pair.indexOf('=');
    if (at < 1)
      throw new MeshError('INVALID_ARGUMENT', `"${pair}" is not request data; write --data name=value`, { pair });
    return { name: pair.slice(0, at), values: pair.slice(at + 1).split(',') };
  });
  const types = await fieldTypes(services, featureService);
  const rows = Math.max(keyRows, ...given.map(({ values }) => values.length));
  return given.map(({ name, values }) => {
    const full = values.length === 1 ? Array.from({ length: rows }, () => values[0] ?? '') : values;
    return columnOf(name, types.get(name) ?? definitions.FieldType.STRING, full);
  });
}

function columnOf(name: string, type: definitions.FieldType, texts: readonly string[]): serving.RequestColumn {
  const isText = type === definitions.FieldType.STRING;
  const isNull = texts.map((text) => text === '' && !isText);
  const nulls = isNull.includes(true) ? Buffer.from(isNull.map(Number)) : Buffer.alloc(0);
  const column: serving.RequestColumn = { name, doubles: [], int64s: [], strings: [], bools: [], nulls };
  switch (type) {
    case definitions.FieldType.DOUBLE:
      return { ...column, doubles: texts.map((text) => (text === '' ? Number.NaN : toNumber(name, text))) };
    case definitions.FieldType.INT64:
      return { ...column, int64s: texts.map((text) => (text === '' ? 0n : toInteger(name, text))) };
    case definitions.FieldType.TIMESTAMP:
      return { ...column, int64s: texts.map((text) => (text === '' ? 0n : parseTimeUs(text))) };
    case definitions.FieldType.BOOL:
      return { ...column, bools: texts.map((text) => text !== '' && toBool(name, text)) };
    default:
      return { ...column, strings: [...texts] };
  }
}

async function fieldTypes(services: Services, name: string): Promise<ReadonlyMap<string, definitions.FieldType>> {
  const kind = registry.DefinitionKind.FEATURE_SERVICE;
  const { registered } = await services.registry().getDefinition({ kind, name, version: '' });
  const spec = registered?.definition?.spec;
  const fields = spec?.$case === 'featureService' ? spec.value.requestFields : [];
  return new Map(fields.map((field) => [field.name, field.type]));
}

function toNumber(name: string, text: string): number {
  const value = Number(text);
  return Number.isFinite(value) ? value : refuse(name, text, 'DOUBLE');
}

function toInteger(name: string, text: string): bigint {
  return /^-?\d{1,19}$/.test(text) ? BigInt(text) : refuse(name, text, 'INT64');
}

function toBool(name: string, text: string): boolean {
  return text === 'true' || (text !== 'false' && refuse(name, text, 'BOOL'));
}

function refuse(name: string, text: string, type: string): never {
  throw new MeshError('WRONG_TYPE', `request field "${name}" is ${type} and "${text}" is not`, {
    field: name,
    value: text,
  });
}
