import type { FieldType, SourceField } from '@millrace/features';
import type { History } from './clickhouse.ts';

export interface EventSource {
  readonly name: string;
  readonly fields: readonly SourceField[];
}

const columnTypes: Readonly<Record<FieldType, string>> = {
  BOOL: 'Bool',
  INT64: 'Int64',
  DOUBLE: 'Float64',
  STRING: 'String',
  TIMESTAMP: "DateTime64(6, 'UTC')",
};

/** A source's table. */
export function eventTable(source: string): string {
  return `\`events_${source}\``;
}

/** What every event table has before its fields. */
export const envelopeColumns = ['_event_id', '_event_time', '_known_time', '_seq', '_index'] as const;

/** Makes the source's table, or adds the columns that a newer schema has. Columns are never removed. */
export async function ensureEventTable(history: History, source: EventSource): Promise<string> {
  const table = eventTable(source.name);
  const fields = source.fields.map((field) => `\`${field.name}\` ${columnType(field)}`);
  await history.command(`
    CREATE TABLE IF NOT EXISTS ${table} (
      _event_id String, _event_time DateTime64(6, 'UTC'), _known_time DateTime64(6, 'UTC'), _seq UInt64, _index UInt32,
      ${fields.join(', ')}
    ) ENGINE = MergeTree ORDER BY (_event_time, _seq, _index)`);
  if (fields.length > 0)
    await history.command(
      `ALTER TABLE ${table} ${fields.map((field) => `ADD COLUMN IF NOT EXISTS ${field}`).join(', ')}`,
    );
  return table;
}

function columnType({ type, nullable }: SourceField): string {
  return nullable ? `Nullable(${columnTypes[type]})` : columnTypes[type];
}

/** The largest position in a table; 0 when it is empty. */
export async function maxSeq(history: History, table: string): Promise<number> {
  const [row] = await history.query<{ position: string }>(`SELECT max(_seq) AS position FROM ${table}`);
  return Number(row?.position ?? 0);
}
