import { dimensionOf, type FieldType, isVectorType, type SchemaType, type SourceField } from '@millrace/features';
import type { History } from './clickhouse.ts';

export interface EventSource {
  readonly name: string;
  readonly fields: readonly SourceField[];
  /** Its events may be corrected and deleted. */
  readonly isCorrectable?: boolean;
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

/** The name of a column's type; of vectors the comment on the column says the dimension, which no type of ClickHouse does. */
export function columnType({ type, nullable }: SourceField): string {
  if (isVectorType(type)) return `${vectorColumn} COMMENT '${type}'`;
  return nullable ? `Nullable(${columnTypes[type]})` : columnTypes[type];
}

/** A vector that is null is empty: no array can be null. */
const vectorColumn = 'Array(Float32)';

/** What holds the length of a vector's column to its dimension; `CONSTRAINT …` is left to the statement. */
export function vectorConstraint({ name, type }: SourceField): string {
  return `${constraintName(name)} CHECK length(\`${name}\`) IN (0, ${dimensionOf(type)})`;
}

function constraintName(field: string): string {
  return `\`vector_${field}\``;
}

interface TableColumn {
  readonly name: string;
  readonly type: string;
  readonly comment: string;
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
    nullable: isVectorType(field.type)
      ? field.nullable
      : (after.get(field.name)?.startsWith('Nullable(') ?? field.nullable),
  }));
}

async function columnsOf(history: History, { name }: EventSource): Promise<Map<string, string>> {
  const rows = await history.query<TableColumn>(
    'SELECT name, type, comment FROM system.columns WHERE database = currentDatabase() AND table = {table: String}',
    { table: `events_${name}` },
  );
  return new Map(rows.map(({ name: column, type, comment }) => [column, type === vectorColumn ? comment : type]));
}

function changesOf(field: SourceField, columns: ReadonlyMap<string, string>): string[] {
  const name = `\`${field.name}\``;
  const there = columns.get(field.name);
  if (there === undefined) return added(field);
  const bare = there.replace(/^Nullable\((.*)\)$/, '$1');
  const isNullable = bare !== there;
  const wanted = wantedType(field.type);
  if (bare === wanted) {
    return field.nullable && !isNullable && !isVectorType(bare) ? [`MODIFY COLUMN ${name} Nullable(${bare})`] : [];
  }
  if (bare === columnTypes.INT64 && field.type === 'DOUBLE')
    return [`MODIFY COLUMN ${name} ${isNullable || field.nullable ? 'Nullable(Float64)' : 'Float64'}`];
  const type = bare.replace(/\W.*/, '');
  let aside = `${field.name}__${type}`;
  for (let copy = 2; columns.has(aside); copy++) aside = `${field.name}__${type}_${copy}`;
  const unchecked = isVectorType(bare) ? [`DROP CONSTRAINT IF EXISTS ${constraintName(field.name)}`] : [];
  return [...unchecked, `RENAME COLUMN ${name} TO \`${aside}\``, ...added(field)];
}

function wantedType(type: SchemaType): string {
  return isVectorType(type) ? type : columnTypes[type];
}

/** The default is written into old parts too: a default of a later version is not theirs. */
function added(field: SourceField): string[] {
  const name = `\`${field.name}\``;
  if (isVectorType(field.type))
    return [
      `ADD COLUMN IF NOT EXISTS ${name} ${columnType(field)}`,
      `ADD CONSTRAINT IF NOT EXISTS ${vectorConstraint(field)}`,
    ];
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
