import { currentSql, isVectorType, type SourceField, type ViewDefinition, versionsSql } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import type { History } from './clickhouse.ts';
import { columnType, type EventSource, eventTable, evolveEventTable, vectorConstraint } from './evolve-table.ts';

/** What every event table has before its fields. */
export const envelopeColumns = ['_event_id', '_event_time', '_known_time', '_seq', '_index'] as const;
/** What one has after those where events may be corrected: what the row does to the event with its id; an Enum8 of libs/events' operations. */
export const operationColumn = '_operation';

const settlePatienceMs = 60_000;

/**
 * Makes the source's table, or fits it to a newer schema; see `evolveEventTable`. Inserts of a writer that was cut off and that ClickHouse
 * still works on have ended when it resolves, so `max(_seq)` does not move afterwards. Returns the fields as the table has them: one that is
 * nullable there may not be so in the schema.
 */
export async function ensureEventTable(history: History, source: EventSource): Promise<SourceField[]> {
  const table = eventTable(source.name);
  await insertsEnded(history, table);
  const fields = source.fields.map((field) => `\`${field.name}\` ${columnType(field)}`);
  const lengths = source.fields
    .filter(({ type }) => isVectorType(type))
    .map((field) => `CONSTRAINT ${vectorConstraint(field)}`);
  // the versions of an event are looked up by its id
  const correctable = source.isCorrectable
    ? [
        `${operationColumn} Enum8('insert' = 0, 'replace' = 1, 'delete' = 2)`,
        'INDEX event_id _event_id TYPE bloom_filter(0.01) GRANULARITY 1',
      ]
    : [];
  await history.command(`
    CREATE TABLE IF NOT EXISTS ${table} (
      _event_id String, _event_time DateTime64(6, 'UTC'), _known_time DateTime64(6, 'UTC'), _seq UInt64, _index UInt32,
      ${[...correctable, ...fields, ...lengths, 'INDEX known_time _known_time TYPE minmax GRANULARITY 4'].join(', ')}
    ) ENGINE = MergeTree ORDER BY (_event_time, _seq, _index)`);
  if (source.isCorrectable) await history.command(`ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS ${correctable[0]}`);
  const evolved = await evolveEventTable(history, source);
  if (source.isCorrectable) await ensureCurrentView(history, source.name);
  return evolved;
}

/** A source's events as they are now, for whoever asks in SQL; made anew as a view keeps the columns that it was made with. */
async function ensureCurrentView(history: History, source: string): Promise<void> {
  const current = currentSql(eventTable(source), 'toUInt64(18446744073709551614)');
  await history.command(
    `CREATE OR REPLACE VIEW ${currentTable(source)} AS SELECT * EXCEPT (_operation, _last_seq) FROM ${current}`,
  );
}

/** The view with a correctable source's events as they are now. */
export function currentTable(source: string): string {
  return `\`current_${source}\``;
}

/** What `asOfSql` and `tilesSql` take for a view's events. */
export function viewEvents({ source, changes }: Pick<ViewDefinition, 'source' | 'changes'>): string {
  return changes === 'upsert' ? versionsSql(eventTable(source)) : eventTable(source);
}

/** Resolves when ClickHouse works on no insert whose statement contains `table`; STORE_UNAVAILABLE after a minute. */
export async function insertsEnded(history: History, table: string): Promise<void> {
  const untilMs = Date.now() + settlePatienceMs;
  for (;;) {
    const [row] = await history.query<{ running: string }>(
      `SELECT count() AS running FROM system.processes WHERE query_kind = 'Insert' AND position(query, {table: String}) > 0`,
      { table },
    );
    if (Number(row?.running ?? 0) === 0) return;
    if (Date.now() > untilMs)
      throw new MeshError(
        'STORE_UNAVAILABLE',
        `an insert into ${table} that nobody waits for is still running after ${settlePatienceMs} ms`,
        { table },
      );
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** The largest position in a table; 0 when it is empty. */
export async function maxSeq(history: History, table: string): Promise<number> {
  const [row] = await history.query<{ position: string }>(`SELECT max(_seq) AS position FROM ${table}`);
  return Number(row?.position ?? 0);
}
