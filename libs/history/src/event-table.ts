import { isVectorType, type SourceField } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import type { History } from './clickhouse.ts';
import { columnType, type EventSource, eventTable, evolveEventTable, vectorConstraint } from './evolve-table.ts';

/** What every event table has before its fields. */
export const envelopeColumns = ['_event_id', '_event_time', '_known_time', '_seq', '_index'] as const;

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
  await history.command(`
    CREATE TABLE IF NOT EXISTS ${table} (
      _event_id String, _event_time DateTime64(6, 'UTC'), _known_time DateTime64(6, 'UTC'), _seq UInt64, _index UInt32,
      ${[...fields, ...lengths, 'INDEX known_time _known_time TYPE minmax GRANULARITY 4'].join(', ')}
    ) ENGINE = MergeTree ORDER BY (_event_time, _seq, _index)`);
  return evolveEventTable(history, source);
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
