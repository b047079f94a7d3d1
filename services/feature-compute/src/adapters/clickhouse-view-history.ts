import { type EntityState, tilesSql, type ViewDefinition, versionsSql } from '@millrace/features';
import { eventTable, type History, maxSeq, viewEvents } from '@millrace/history';
import { entityKey } from '@millrace/hot';
import type { EntityKeys, TileRow, ViewHistory } from '../app/backfill.ts';
import { scalarValue, sqlLiteral, sqlName, sqlType } from '../app/sql.ts';

const rowsPerBatch = 1_000;

type TileJson = Readonly<Record<string, unknown>>;

/** Tiles, positions and frontiers from ClickHouse. */
export function createViewHistory(history: History): ViewHistory {
  const exists = createTableLookup(history);

  return {
    maxPosition: async (source) => ((await exists(source)) ? maxSeq(history, eventTable(source)) : 0),

    extent: async (source, upToPosition) => {
      if (!(await exists(source))) return { position: 0, knownTimeUs: 0, frontierUs: 0 };
      const [row] = await history.query<{ position: string; known: string; frontier: string }>(
        `SELECT toString(max(_seq)) AS position, toString(toUnixTimestamp64Micro(max(_known_time))) AS known,
                toString(toUnixTimestamp64Micro(max(_event_time))) AS frontier
         FROM ${eventTable(source)} WHERE _seq <= {position:UInt64}`,
        { position: upToPosition },
      );
      return {
        position: Number(row?.position ?? 0),
        knownTimeUs: Number(row?.known ?? 0),
        frontierUs: Number(row?.frontier ?? 0),
      };
    },

    tiles: async function* (definition, { upToPosition, frontierUs, entities }, signal) {
      const answer = await history.client.query({
        query: tilesSql(definition, eventsOf(definition, entities)),
        query_params: { position: upToPosition, frontier: frontierUs },
        format: 'JSONEachRow',
        abort_signal: signal,
        clickhouse_settings: { output_format_json_quote_64bit_integers: 1 },
      });
      let batch: TileRow[] = [];
      for await (const chunk of answer.stream<TileJson>()) {
        for (const row of chunk) {
          batch.push(toTileRow(definition, row.json<TileJson>()));
          if (batch.length < rowsPerBatch) continue;
          yield batch;
          batch = [];
        }
      }
      if (batch.length > 0) yield batch;
    },

    entitiesOf: async (definition, eventIds, signal) => {
      const { source, joinKeys } = definition;
      const columns = joinKeys.map(({ name, field }) => `${sqlName(field)} AS ${sqlName(name)}`).join(', ');
      const given = joinKeys.map(({ field }) => `isNotNull(${sqlName(field)})`).join(' AND ');
      const rows = await history.query<TileJson>(
        `SELECT DISTINCT ${columns} FROM ${eventTable(source)}
         WHERE _event_id IN (${eventIds.map(sqlLiteral).join(', ')}) AND _operation != 'delete' AND ${given}`,
        {},
        signal,
      );
      return rows.map((row) => toEntity(definition, row));
    },
  };
}

/** Whether a source has a table. Thousands of new views may ask at once: those that ask during a query share the next. */
function createTableLookup(history: History): (source: string) => Promise<boolean> {
  let asked = new Set<string>();
  let next: Promise<ReadonlySet<string>> | undefined;
  let last: Promise<unknown> = Promise.resolve();

  async function list(): Promise<ReadonlySet<string>> {
    const names = [...asked].map((source) => sqlLiteral(`events_${source}`));
    asked = new Set();
    next = undefined;
    const rows = await history.query<{ name: string }>(
      `SELECT name FROM system.tables WHERE database = currentDatabase() AND name IN (${names.join(', ')})`,
    );
    return new Set(rows.map(({ name }) => name));
  }

  return async (source) => {
    asked.add(source);
    next ??= last.then(list);
    last = next.catch(() => undefined);
    return (await next).has(`events_${source}`);
  };
}

/** The view's events, of some entities or all. */
function eventsOf(definition: ViewDefinition, entities: readonly EntityKeys[] | undefined): string {
  if (entities === undefined) return viewEvents(definition);
  const { joinKeys, source } = definition;
  const columns = joinKeys.map(({ field }) => sqlName(field)).join(', ');
  const types = joinKeys.map(({ name, type }) => `${sqlName(name)} ${sqlType(type)}`).join(', ');
  const rows = entities.map(({ values }) => `(${values.map(sqlLiteral).join(',')})`);
  const listed = `(${columns}) IN (SELECT * FROM values(${sqlLiteral(types)}, ${rows.join(',')}))`;
  return versionsSql(eventTable(source), listed);
}

function toEntity({ entity, joinKeys }: ViewDefinition, row: TileJson): EntityKeys {
  const values = joinKeys.map(({ name, type }) => scalarValue(row[name], type));
  return { entityKey: entityKey(entity, values), values };
}

function toTileRow(definition: ViewDefinition, row: TileJson): TileRow {
  return {
    entityKey: toEntity(definition, row).entityKey,
    merge: (cells, state) => cells.view.mergeTile(state as EntityState, Number(row.hop_us), Number(row.bucket_us), row),
  };
}
