import { cellSql } from './cell-sql.ts';
import type { Cell } from './cells.ts';
import { layoutOf } from './layout.ts';
import { headSpanUs } from './state.ts';
import type { ViewDefinition } from './types.ts';
import { lifetimeHopUs } from './windows.ts';

/** A row that `tilesSql` gives, 64-bit integers as text. */
export type TileRecord = Readonly<Record<string, unknown>>;

/** The columns of a cell: n, x, y, z, value. */
export function sqlColumns(cell: number): [string, string, string, string, string] {
  return [`c${cell}_n`, `c${cell}_x`, `c${cell}_y`, `c${cell}_z`, `c${cell}_v`];
}

/**
 * The tiles of every entity from history: one row for each entity, hop and bucket with an event, with the join keys under their names,
 * `hop_us`, `bucket_us`, `last_us`, and each cell's columns. Parameters: `position` (only events up to it), `frontier` (µs; buckets that no
 * window needs as of it are left out).
 */
export function tilesSql(view: ViewDefinition, table: string): string {
  const { groups, cells } = layoutOf(view);
  const keys = view.joinKeys.map(({ name, field }) => `e.\`${field}\` AS \`${name}\``).join(', ');
  const keyNames = view.joinKeys.map(({ name }) => `\`${name}\``).join(', ');
  const notNull = view.joinKeys.map(({ field }) => `isNotNull(e.\`${field}\`)`).join(' AND ');
  const partials = cells.map(({ cell }, index) => partialSql(cell, index, view)).join(', ');
  const selects = groups.map(({ hopUs, maxSizeUs }) => {
    const timeUs = 'toUnixTimestamp64Micro(e._event_time)';
    const bucket = hopUs === lifetimeHopUs ? 'toInt64(0)' : `intDiv(${timeUs}, ${hopUs}) * ${hopUs}`;
    const needed =
      hopUs === lifetimeHopUs
        ? ''
        : ` AND e._event_time >= fromUnixTimestamp64Micro(greatest(toInt64(0), intDiv({frontier:Int64} - ${headSpanUs + maxSizeUs}, ${hopUs}) * ${hopUs} - ${hopUs}), 'UTC')`;
    return `SELECT ${keys}, toInt64(${hopUs}) AS hop_us, ${bucket} AS bucket_us, max(${timeUs}) AS last_us, ${partials}
      FROM ${table} AS e WHERE e._seq <= {position:UInt64} AND ${notNull}${needed} GROUP BY ${keyNames}, bucket_us`;
  });
  return selects.join('\nUNION ALL\n');
}

function partialSql(cell: Cell, index: number, view: ViewDefinition): string {
  const sql = cellSql(cell, view, 'true');
  return [sql.n, sql.x, sql.y, sql.z, sql.value]
    .map((expression, place) => `${expression} AS ${sqlColumns(index)[place]}`)
    .join(', ');
}
