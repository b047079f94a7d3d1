import type { Column, SourceField } from '@millrace/features';
import { currentTable, eventTable, type History, maxSeq } from '@millrace/history';
import { sourceFieldsOf } from '@millrace/registry';
import { isCorrectable } from '@millrace/sources';
import type { FieldStatistics } from '../app/fitted-states.ts';
import type { Past, PastEvent } from '../app/intakes.ts';
import type { PackedBatch } from '../domain/pack.ts';
import type { SourceDefinition } from '../domain/source-validator.ts';

type Log = {
  bounds(): Promise<{ first: number; last: number }>;
  read(from: number, to: number): AsyncIterable<{ readonly position: number; readonly batch: PackedBatch }>;
};

type Row = { readonly id: string; readonly time: string; readonly texts: readonly (string | null)[] };

/** Rows that a state is fitted to: the latest, which are read in the table's order. */
const fittedRowsMax = 1_000_000;

/** What was accepted before: history, and of the EVENTS stream what is not there yet. */
export function createHistoryPast(
  history: History,
  log: Log,
): Past & { statistics(source: SourceDefinition, field: string): Promise<FieldStatistics> } {
  return {
    async recent(source, fields, windowUs, limit) {
      const table = await tableOf(source, fields);
      if (table === undefined) return tail(source.name, 0, fields);
      const position = await maxSeq(history, table);
      const rows = await history.query<Row>(
        `SELECT _event_id AS id, toUnixTimestamp64Micro(_event_time) AS time, [${texts(source, fields)}] AS texts FROM ${table}
         WHERE _event_time > (SELECT max(_event_time) FROM ${table}) - toIntervalMicrosecond({window: Int64})
         ORDER BY _event_time DESC LIMIT {limit: UInt64}`,
        { window: windowUs, limit },
      );
      return [...rows.reverse().map(toPast), ...(await tail(source.name, position, fields))];
    },

    async latest(source, field, limit) {
      const { keyField } = source.spec;
      const table = await tableOf(source, [keyField, field]);
      if (table === undefined) return tail(source.name, 0, [keyField, field]);
      const position = await maxSeq(history, table);
      const rows = await history.query<Row>(
        `SELECT '' AS id, toUnixTimestamp64Micro(max(_event_time)) AS time,
           [key, argMax(value, (_event_time, _seq, _index))] AS texts
         FROM (SELECT ${text(source, keyField)} AS key, ${text(source, field)} AS value, _event_time, _seq, _index FROM ${table})
         WHERE key IS NOT NULL AND value IS NOT NULL
         GROUP BY key ORDER BY time DESC LIMIT {limit: UInt64}`,
        { limit },
      );
      return [...rows.reverse().map(toPast), ...(await tail(source.name, position, [keyField, field]))];
    },

    async statistics(source, field) {
      const table = await tableOf(source, [field]);
      if (table === undefined) return { rows: 0, mean: 0, stddev: 0, q1: 0, median: 0, q3: 0 };
      const [row] = await history.query<Record<keyof FieldStatistics, number | string | null>>(
        `SELECT count() AS rows, avg(value) AS mean, stddevSamp(value) AS stddev, quantileExactInclusive(0.25)(value) AS q1,
           quantileExactInclusive(0.5)(value) AS median, quantileExactInclusive(0.75)(value) AS q3
         FROM (SELECT toFloat64(assumeNotNull(\`${field}\`)) AS value FROM ${isCorrectable(source.spec) ? currentTable(source.name) : table} WHERE isNotNull(\`${field}\`)
           ORDER BY _event_time DESC LIMIT ${fittedRowsMax})`,
      );
      const number = (name: keyof FieldStatistics) => Number(row?.[name] ?? Number.NaN);
      return {
        rows: number('rows'),
        mean: number('mean'),
        stddev: number('stddev'),
        q1: number('q1'),
        median: number('median'),
        q3: number('q3'),
      };
    },
  };

  /**
   * The table, once it has the fields; undefined before. It is the writer's to make and to change: whoever changes it under an insert in the
   * older form corrupts it.
   */
  async function tableOf({ name }: SourceDefinition, fields: readonly string[]): Promise<string | undefined> {
    const [row] = await history.query<{ found: string }>(
      `SELECT count() AS found FROM system.columns WHERE database = currentDatabase() AND table = {table: String}
       AND name IN {fields: Array(String)}`,
      { table: `events_${name}`, fields: [...new Set(fields)] },
    );
    return Number(row?.found ?? 0) === new Set(fields).size ? eventTable(name) : undefined;
  }

  async function tail(source: string, position: number, fields: readonly string[]): Promise<PastEvent[]> {
    const { first, last } = await log.bounds();
    const found: PastEvent[] = [];
    if (last <= position || last < first) return found;
    for await (const { batch } of log.read(Math.max(position + 1, first), last)) {
      if (batch.source !== source) continue;
      const columns = fields.map((field) => batch.columns.get(field));
      for (let row = 0; row < batch.count; row++) {
        const values = columns.map((column) => (column === undefined ? null : textAt(column, row)));
        found.push({ id: batch.ids[row] ?? '', timeUs: batch.eventTimeUs[row] ?? 0, values });
      }
    }
    return found;
  }
}

function texts(source: SourceDefinition, fields: readonly string[]): string {
  return fields.map((field) => text(source, field)).join(', ');
}

/** A field as the text that `uniqueKey` makes of its value. */
function text({ spec }: SourceDefinition, field: string): string {
  const type = sourceFieldsOf(spec).find(({ name }) => name === field)?.type;
  return `CAST(${textSql(type)(`\`${field}\``)} AS Nullable(String))`;
}

function textSql(type: SourceField['type'] | undefined): (column: string) => string {
  if (type === 'BOOL') return (column) => `toString(toUInt8(${column}))`;
  if (type === 'TIMESTAMP') return (column) => `toString(toUnixTimestamp64Micro(${column}))`;
  return (column) => `toString(${column})`;
}

function textAt({ values, nulls }: Column, row: number): string | null {
  return nulls?.[row] === 1 ? null : String(values[row]);
}

function toPast({ id, time, texts: values }: Row): PastEvent {
  return { id, timeUs: Number(time), values };
}
