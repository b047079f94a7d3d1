import { definitions, registry, type serving } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import type { Services } from './context.ts';

/** RFC 3339 text or a count of microseconds → UTC microseconds. */
export function parseTimeUs(text: string): bigint {
  if (/^-?\d+$/.test(text)) return BigInt(text);
  const parsedMs = Date.parse(text);
  if (Number.isNaN(parsedMs))
    throw new MeshError(
      'INVALID_ARGUMENT',
      `"${text}" is not a time; write RFC 3339, as 2001-04-01T08:00:00Z, or microseconds`,
      { text },
    );
  const micros = /\.\d{3}(\d{1,3})/.exec(text)?.[1]?.padEnd(3, '0') ?? '0';
  return BigInt(parsedMs) * 1000n + BigInt(micros);
}

/** How many rows `['origin=ATL,ORD', 'hour=8']` means. */
export function rowsIn(pairs: readonly string[]): number {
  return pairs.reduce((most, pair) => Math.max(most, pair.split(',').length), 1);
}

/** `['origin=ATL,ORD', 'hour=8']` → key columns of the types that the entities give them; a single value is repeated for every row. */
export async function keyColumns(services: Services, pairs: readonly string[]): Promise<serving.KeyColumn[]> {
  const types = await joinKeyTypes(services);
  const given = pairs.map((pair) => {
    const at = pair.indexOf('=');
    if (at < 1) throw new MeshError('INVALID_ARGUMENT', `"${pair}" is not a join key; write name=value`, { pair });
    return { name: pair.slice(0, at), values: pair.slice(at + 1).split(',') };
  });
  const rows = Math.max(...given.map(({ values }) => values.length));
  return given.map(({ name, values }) => {
    const full = values.length === 1 ? Array.from({ length: rows }, () => values[0] ?? '') : values;
    const column: serving.KeyColumn = { name, strings: [], int64s: [], bools: [], nulls: Buffer.alloc(0) };
    const type = types.get(name) ?? definitions.FieldType.STRING;
    if (type === definitions.FieldType.INT64) return { ...column, int64s: full.map((value) => toInt64(name, value)) };
    if (type === definitions.FieldType.BOOL) return { ...column, bools: full.map((value) => toBool(name, value)) };
    return { ...column, strings: full };
  });
}

function toInt64(name: string, value: string): bigint {
  if (!/^-?\d+$/.test(value))
    throw new MeshError('WRONG_TYPE', `join key "${name}" is an INT64 and "${value}" is not`, { key: name, value });
  return BigInt(value);
}

function toBool(name: string, value: string): boolean {
  if (value !== 'true' && value !== 'false')
    throw new MeshError('WRONG_TYPE', `join key "${name}" is a BOOL and "${value}" is neither true nor false`, {
      key: name,
      value,
    });
  return value === 'true';
}

/** The types of the join keys of every entity in the registry that a service could read. */
async function joinKeyTypes(services: Services): Promise<ReadonlyMap<string, definitions.FieldType>> {
  const { registered } = await services.registry().listDefinitions({ kind: registry.DefinitionKind.ENTITY });
  return new Map(
    registered.flatMap(({ definition }) =>
      definition?.spec?.$case === 'entity'
        ? definition.spec.value.joinKeys.map((key) => [key.name, key.type] as const)
        : [],
    ),
  );
}
