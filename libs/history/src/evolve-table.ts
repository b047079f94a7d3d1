import type { FieldType, SourceField } from '@millrace/features';
import type { History } from './clickhouse.ts';

export interface EventSource {
  readonly name: string;
  readonly fields: readonly SourceField[];
}

/** A source's table. */
export function eventTable(source: string): string {
  return `\`events_${source}\``;
}

const columnTypes: Readonly<Record<FieldType, string>> = {
  BOOL: 'Bool',
  INT64: 'Int64',
  DOUBLE: 'Float64',
  STRING: 'String',
  TIMESTAMP: "DateTime64(6, 'UTC')",
};

export function columnType({ type, nullable }: SourceField): string {
  return nullable ? `Nullable(${columnTypes[type]})` : columnTypes[type];
}

interface TableColumn {
  readonly name: string;
  readonly type: string;
}

/**
 * Fits a table to a newer schema so that old events stay readable. A field that is added is its default in old events, else null; a field
 * that became nullable, or DOUBLE from INT64, is widened in place; what became of another type is kept under `<field>__<old type>` and the
 * field begins anew; a field that is gone keeps its column. Returns the fields as the table has them.
 */
export async function evolveEventTable(history: History, source: EventSource): Promise<SourceField[]> {
  const table = eventTable(source.name);
  const before = await columnsOf(history, source);
  const changes = source.fields.flatMap((field) => changesOf(field, before));
  for (const change of changes) await history.command(`ALTER TABLE ${table} ${change}`);
  const after = changes.length === 0 ? before : await columnsOf(history, source);
  return source.fields.map((field) => ({
    ...field,
    nullable: after.get(field.name)?.startsWith('Nullable(') ?? field.nullable,
  }));
}

async function columnsOf(history: History, { name }: EventSource): Promise<Map<string, string>> {
  const rows = await history.query<TableColumn>(
    'SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table: String}',
    { table: `events_${name}` },
  );
  return new Map(rows.map(({ name: column, type }) => [column, type]));
}

function changesOf(field: SourceField, columns: ReadonlyMap<string, string>): string[] {
  const name = `\`${field.name}\``;
  const there = columns.get(field.name);
  if (there === undefined) return added(field);
  const bare = there.replace(/^Nullable\((.*)\)$/, '$1');
  const isNullable = bare !== there;
  const wanted = columnTypes[field.type];
  if (bare === wanted) {
    return field.nullable && !isNullable ? [`MODIFY COLUMN ${name} Nullable(${bare})`] : [];
  }
  if (bare === columnTypes.INT64 && field.type === 'DOUBLE')
    return [`MODIFY COLUMN ${name} ${isNullable || field.nullable ? 'Nullable(Float64)' : 'Float64'}`];
  const type = bare.replace(/\W.*/, '');
  let aside = `${field.name}__${type}`;
  for (let copy = 2; columns.has(aside); copy++) aside = `${field.name}__${type}_${copy}`;
  return [`RENAME COLUMN ${name} TO \`${aside}\``, ...added(field)];
}

/** The default is written into old parts too: a default of a later version is not theirs. */
function added(field: SourceField): string[] {
  const name = `\`${field.name}\``;
  if (field.default === undefined) return [`ADD COLUMN IF NOT EXISTS ${name} Nullable(${columnTypes[field.type]})`];
  return [
    `ADD COLUMN IF NOT EXISTS ${name} ${columnType(field)} DEFAULT ${literal(field)}`,
    `MATERIALIZE COLUMN ${name}`,
  ];
}

function literal({ type, default: value }: SourceField): string {
  const text = `'${String(value).replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  switch (type) {
    case 'BOOL':
      return String(value === true);
    case 'INT64':
      return `toInt64(${text})`;
    case 'DOUBLE':
      return `toFloat64(${text})`;
    case 'TIMESTAMP':
      return `fromUnixTimestamp64Micro(toInt64(${text}), 'UTC')`;
    default:
      return text;
  }
}
