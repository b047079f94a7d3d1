import { compileFilter } from '@millrace/features';
import { eventTable, type History, maxSeq, vectorTable, vectorTablePrefix } from '@millrace/history';
import { sqlLiteral, sqlName } from '../app/sql.ts';
import type { IndexedFeature, VectorStore } from '../app/vector-index.ts';

/** How far each table is, so that a restart goes on there: what was cut off is inserted again, which changes nothing. */
const positions = 'searched_positions';
const positionsSql = `CREATE TABLE IF NOT EXISTS ${positions} (name String, position UInt64) ENGINE = ReplacingMergeTree(position) ORDER BY name`;
/** Positions of the event log that one statement takes: bounds its memory. */
const stepPositions = 5_000;
const keyTypes: Readonly<Record<string, string>> = { STRING: 'String', INT64: 'Int64', BOOL: 'Bool' };

/**
 * A table for each feature: keys, vector, `_order` (event time, position and index as one number, so that merges keep the last vector) and an HNSW
 * index for cosine distances. Until a merge an entity's older vectors are there too: who asks takes a row as a candidate, not as the truth.
 */
export function createVectorStore(history: History): VectorStore {
  const reached = new Map<string, number>();

  async function start(indexed: IndexedFeature, table: string): Promise<number> {
    const keys = indexed.view.joinKeys.map(({ name, type }) => `${sqlName(name)} ${keyTypes[type]}`);
    await history.command(
      `CREATE TABLE IF NOT EXISTS ${table} (${keys.join(', ')}, _order UInt128, _vector Array(Float32),
        CONSTRAINT dimension CHECK length(_vector) = ${indexed.dimension},
        INDEX nearest _vector TYPE vector_similarity('hnsw', 'cosineDistance', ${indexed.dimension}) GRANULARITY 100000000
      ) ENGINE = ReplacingMergeTree(_order) ORDER BY (${indexed.view.joinKeys.map(({ name }) => sqlName(name)).join(', ')})`,
    );
    await history.command(positionsSql);
    const [row] = await history.query<{ position: string }>(
      `SELECT max(position) AS position FROM ${positions} WHERE name = {table: String}`,
      { table },
    );
    return Number(row?.position ?? 0);
  }

  async function hasColumn({ view, feature }: IndexedFeature): Promise<boolean> {
    const [row] = await history.query<{ found: string }>(
      'SELECT count() AS found FROM system.columns WHERE database = currentDatabase() AND table = {table: String} AND name = {field: String}',
      { table: `events_${view.source}`, field: feature.field },
    );
    return row?.found === '1';
  }

  return {
    async update(indexed, signal) {
      const table = tableOf(indexed);
      const events = eventTable(indexed.view.source);
      let from = reached.get(table) ?? (await start(indexed, table));
      // history makes the source's table with its first schema
      const to = (await hasColumn(indexed)) ? await maxSeq(history, events) : 0;
      while (from < to && !signal.aborted) {
        const next = Math.min(to, from + stepPositions);
        await history.command(insertSql(indexed, table, events, from, next));
        from = next;
        if (next === to)
          await history.command(`INSERT INTO ${positions} (name, position) VALUES (${sqlLiteral(table)}, ${next})`);
      }
      reached.set(table, from);
    },
    async keepOnly(indexed) {
      const wanted = new Set(indexed.map(tableOf));
      await history.command(positionsSql);
      const rows = await history.query<{ name: string }>(
        'SELECT name FROM system.tables WHERE database = currentDatabase() AND startsWith(name, {prefix: String})',
        { prefix: vectorTablePrefix },
      );
      for (const name of rows.map((row) => sqlName(row.name)).filter((table) => !wanted.has(table))) {
        await history.command(`DELETE FROM ${positions} WHERE name = ${sqlLiteral(name)}`);
        await history.command(`DROP TABLE IF EXISTS ${name}`);
        reached.delete(name);
      }
    },
  };
}

function tableOf({ view, feature }: IndexedFeature): string {
  return vectorTable(view.name, view.version, feature.name);
}

function insertSql({ view, feature }: IndexedFeature, table: string, events: string, from: number, to: number): string {
  const column = (field: string) => `e.${sqlName(field)}`;
  const keys = view.joinKeys.map(({ field }, at) => `assumeNotNull(${column(field)}) AS k${at}`);
  const time = 'toUInt128(toUnixTimestamp64Micro(e._event_time) + 4611686018427387904)';
  const order = `bitShiftLeft(${time}, 64) + toUInt128(e._seq) * 1048576 + e._index`;
  const conditions = [
    `e._seq > ${from} AND e._seq <= ${to}`,
    `length(${column(feature.field)}) > 0`,
    ...view.joinKeys.map(({ field }) => `isNotNull(${column(field)})`),
    ...(feature.filter === '' ? [] : [compileFilter(feature.filter, view.fields).sql(column)]),
  ];
  const names = [...view.joinKeys.map(({ name }) => sqlName(name)), '_order', '_vector'];
  const groups = view.joinKeys.map((_, at) => `k${at}`);
  return `INSERT INTO ${table} (${names.join(', ')})
    SELECT ${keys.join(', ')}, max(${order}), argMax(${column(feature.field)}, ${order})
    FROM ${events} AS e WHERE ${conditions.join(' AND ')} GROUP BY ${groups.join(', ')}`;
}
