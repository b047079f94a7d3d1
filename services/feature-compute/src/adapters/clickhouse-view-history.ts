import { type EntityState, tilesSql, type ViewDefinition } from '@millrace/features';
import { eventTable, type History, maxSeq } from '@millrace/history';
import { entityKey } from '@millrace/hot';
import type { TileRow, ViewHistory } from '../app/backfill.ts';
import { scalarValue } from '../app/sql.ts';

const rowsPerBatch = 1_000;

type TileJson = Readonly<Record<string, unknown>>;

/** Tiles, positions and frontiers from ClickHouse. */
export function createViewHistory(history: History): ViewHistory {
  async function exists(source: string): Promise<boolean> {
    const [row] = await history.query<{ result: number | string }>(`EXISTS TABLE ${eventTable(source)}`);
    return Number(row?.result ?? 0) === 1;
  }

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

    tiles: async function* (_cells, definition, upToPosition, frontierUs, signal) {
      const answer = await history.client.query({
        query: tilesSql(definition, eventTable(definition.source)),
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
  };
}

function toTileRow(definition: ViewDefinition, row: TileJson): TileRow {
  const keys = definition.joinKeys.map(({ name, type }) => scalarValue(row[name], type));
  return {
    entityKey: entityKey(definition.entity, keys),
    merge: (cells, state) => cells.view.mergeTile(state as EntityState, Number(row.hop_us), Number(row.bucket_us), row),
  };
}
