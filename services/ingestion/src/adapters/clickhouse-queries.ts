import type { definitions } from '@millrace/contracts';
import { sqlName } from '@millrace/features';
import { type History, historyError } from '@millrace/history';
import { MeshError } from '@millrace/kernel';
import type { Queries, QueryRow } from '../app/load-deps.ts';

const pageRows = 1_000;
/** Rows that one statement brings: a table of any size is read in bounded memory on both sides. */
const statementRows = 50_000;

type Cursor = { readonly watermark: number; readonly ids: readonly string[] };

/** SELECTs over ClickHouse, read-only. Rows are ordered by watermark, then by the text of their ids; each statement goes on after the last row. */
export function createClickHouseQueries(history: History): Queries {
  return {
    async open(input, signal) {
      const { query, watermarkColumn, format } = input;
      const idColumns = format?.idColumns ?? [];
      const types = await describe(history, input, signal);
      const absent = [watermarkColumn, ...idColumns].find((column) => !types.has(column));
      if (absent !== undefined)
        throw new MeshError(
          'INVALID_ARGUMENT',
          `the query of batch input "${input.name}" has no column "${absent}"; columns: ${[...types.keys()].join(', ')}`,
          { column: absent },
        );
      const watermark = watermarkSql(input, types.get(watermarkColumn) ?? '');
      const keys = idColumns.map((column) => `toString(${sqlName(column)})`);
      const order = [watermark, ...keys].join(', ');
      const inner = query.trim().replace(/;$/, '');

      async function page(where: string, params: Readonly<Record<string, unknown>>, abort: AbortSignal) {
        const sql = `SELECT *, ${watermark} AS _watermark, [${keys.join(', ')}] AS _keys FROM (${inner}) WHERE ${where} ORDER BY ${order} LIMIT ${statementRows}`;
        return select<{ _watermark: string; _keys: string[] }>(history, sql, params, abort);
      }

      return {
        columns: [...types.keys()],
        async *pages(from, abort) {
          let cursor: Cursor | undefined;
          for (;;) {
            const rows =
              cursor === undefined
                ? await page(from === undefined ? '1' : `${watermark} >= {from:Int64}`, { from: from ?? 0 }, abort)
                : await page(`(${order}) > (${placeholders(idColumns.length)})`, paramsOf(cursor), abort);
            for (let at = 0; at < rows.length; at += pageRows) yield rows.slice(at, at + pageRows).map(toRow);
            const last = rows.at(-1);
            if (last === undefined || rows.length < statementRows) return;
            cursor = { watermark: Number(last._watermark), ids: last._keys };
          }
        },
      };
    },
  };
}

function toRow({ _watermark, _keys, ...fields }: { readonly _watermark: string; readonly _keys: string[] }): QueryRow {
  return { watermark: Number(_watermark), fields };
}

function placeholders(ids: number): string {
  return ['{watermark:Int64}', ...Array.from({ length: ids }, (_, at) => `{id${at}:String}`)].join(', ');
}

function paramsOf({ watermark, ids }: Cursor): Record<string, unknown> {
  return { watermark, ...Object.fromEntries(ids.map((id, at) => [`id${at}`, id])) };
}

async function describe(
  history: History,
  { query }: definitions.BatchInput,
  signal: AbortSignal,
): Promise<Map<string, string>> {
  const inner = query.trim().replace(/;$/, '');
  const columns = await select<{ name: string; type: string }>(history, `DESCRIBE TABLE (${inner})`, {}, signal);
  return new Map(columns.map(({ name, type }) => [name, type]));
}

/** The watermark as a whole number: microseconds of a time, or the number itself. */
function watermarkSql({ name, watermarkColumn, overlapUs }: definitions.BatchInput, type: string): string {
  const column = sqlName(watermarkColumn);
  if (/^(DateTime|DateTime64|Date|Date32)\b/.test(type))
    return `toUnixTimestamp64Micro(toDateTime64(${column}, 6, 'UTC'))`;
  if (/^U?Int(8|16|32|64)$/.test(type)) {
    if (overlapUs === 0n) return `toInt64(${column})`;
    throw new MeshError(
      'INVALID_ARGUMENT',
      `watermark "${watermarkColumn}" of batch input "${name}" is a whole number and has no duration of overlap; leave overlap out`,
      { column: watermarkColumn },
    );
  }
  throw new MeshError(
    'INVALID_ARGUMENT',
    `watermark "${watermarkColumn}" of batch input "${name}" is ${type}; it is a time or a whole number, and never null`,
    { column: watermarkColumn, type },
  );
}

async function select<T>(
  history: History,
  sql: string,
  params: Readonly<Record<string, unknown>>,
  signal: AbortSignal,
): Promise<T[]> {
  try {
    const result = await history.client.query({
      query: sql,
      format: 'JSONEachRow',
      query_params: { ...params },
      abort_signal: signal,
      clickhouse_settings: {
        readonly: '2',
        date_time_output_format: 'iso',
        output_format_json_quote_64bit_integers: 1,
      },
    });
    return await result.json<T>();
  } catch (cause) {
    signal.throwIfAborted();
    throw historyError(history.url, cause);
  }
}
