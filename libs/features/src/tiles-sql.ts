import { cellSql } from './cell-sql.ts';
import type { Cell } from './cells/cell.ts';
import { tableWithInputs } from './inputs.ts';
import { type Group, layoutOf } from './layout.ts';
import { sessionsMax } from './sessions.ts';
import { eventColumn, sqlName } from './sql-names.ts';
import { headSpanUs } from './state.ts';
import type { ViewDefinition } from './types.ts';
import { lifetimeHopUs } from './windows.ts';

/** A row that `tilesSql` gives, 64-bit integers as text. */
export type TileRecord = Readonly<Record<string, unknown>>;

/** The columns of a cell: n, x, y, z, value. */
export function sqlColumns(cell: number): [string, string, string, string, string] {
  return [`c${cell}_n`, `c${cell}_x`, `c${cell}_y`, `c${cell}_z`, `c${cell}_v`];
}

const timeUs = 'toUnixTimestamp64Micro(e._event_time)';
/** What stands for a group's tiles in `hop_us`: of sessions their gap, negative. */
export function tilesHopUs({ hopUs, gapUs }: Group): number {
  return gapUs > 0 ? -gapUs : hopUs;
}

/** Of rows that only say that an entity has events. */
const noHopUs = -1;

/**
 * The tiles of every entity from history: one row for each entity, hop and bucket with an event, with the join keys under their names,
 * `hop_us` (of sessions minus the gap), `bucket_us` (of a session its start), `last_us` (newest event), `valid_from_us` (from when on the tiles say everything) and each cell's columns.
 * `table`: where events may be corrected a subquery of `versionsSql`. Parameters: `position` (only events up to it), `frontier` (µs; buckets that no window needs as of it are left out). Where that could leave
 * out an entity whole, one row more for each entity (`hop_us` −1, nothing in its cells): as in the stream, an entity that ever had an event is there.
 */
export function tilesSql(definition: ViewDefinition, table: string): string {
  const { view, groups, cells } = layoutOf(definition);
  const events = tableWithInputs(view, table);
  const keys = view.joinKeys.map(({ name, field }) => `${eventColumn(field)} AS ${sqlName(name)}`).join(', ');
  const keyColumns = view.joinKeys.map(({ field }) => eventColumn(field));
  const current = view.changes === 'upsert' ? ['e._last_seq >= {position:UInt64}'] : [];
  const given = ['e._seq <= {position:UInt64}', ...current, ...keyColumns.map((column) => `isNotNull(${column})`)].join(
    ' AND ',
  );
  const validFrom = `greatest(max(${timeUs}) + 1, toInt64({frontier:Int64} - ${headSpanUs})) AS valid_from_us`;
  const partials = (within: string) => cells.map(({ cell }, index) => partialSql(cell, index, view, within)).join(', ');
  const selects = groups.map((group) => {
    const { hopUs, maxSizeUs, gapUs } = group;
    if (gapUs > 0) {
      const runs = sessionsSql(`(SELECT * FROM ${events} AS e WHERE ${given})`, keyColumns, gapUs);
      return `SELECT ${keys}, toInt64(${tilesHopUs(group)}) AS hop_us, min(${timeUs}) AS bucket_us, max(${timeUs}) AS last_us, ${validFrom}, ${partials('true')}
        FROM ${runs} AS e WHERE e._session < ${sessionsMax} GROUP BY ${[...keyColumns, 'e._session'].join(', ')}`;
    }
    const isLifetime = hopUs === lifetimeHopUs;
    const bucket = isLifetime ? 'toInt64(0)' : `intDiv(${timeUs}, ${hopUs}) * ${hopUs}`;
    const oldest = `intDiv({frontier:Int64} - ${headSpanUs + maxSizeUs}, ${hopUs}) * ${hopUs} - ${hopUs}`;
    const needed = isLifetime
      ? ''
      : ` AND e._event_time >= fromUnixTimestamp64Micro(greatest(toInt64(0), ${oldest}), 'UTC')`;
    return `SELECT ${keys}, toInt64(${hopUs}) AS hop_us, ${bucket} AS bucket_us, max(${timeUs}) AS last_us, ${validFrom}, ${partials('true')}
      FROM ${events} AS e WHERE ${given}${needed} GROUP BY ${[...keyColumns, 'bucket_us'].join(', ')}`;
  });
  if (!groups.some(({ hopUs }) => hopUs === lifetimeHopUs)) {
    selects.push(`SELECT ${keys}, toInt64(${noHopUs}) AS hop_us, toInt64(0) AS bucket_us, max(${timeUs}) AS last_us, ${validFrom}, ${partials('false')}
      FROM ${events} AS e WHERE ${given} GROUP BY ${keyColumns.join(', ')}`);
  }
  return selects.join('\nUNION ALL\n');
}

/** The events with `_session`, the number of their session from the newest, 0, back. */
function sessionsSql(events: string, keys: readonly string[], gapUs: number): string {
  const latestFirst = `PARTITION BY ${keys.join(', ')} ORDER BY e._event_time DESC`;
  const later = `lagInFrame(${timeUs}, 1, ${timeUs}) OVER (${latestFirst} ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)`;
  const session = `sum(e._later - ${timeUs} > ${gapUs}) OVER (${latestFirst} ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)`;
  return `(SELECT *, ${session} AS _session FROM (SELECT *, ${later} AS _later FROM ${events} AS e) AS e)`;
}

function partialSql(cell: Cell, index: number, view: ViewDefinition, within: string): string {
  const sql = cellSql(cell, view, within);
  return [sql.n, sql.x, sql.y, sql.z, sql.value]
    .map((expression, place) => `${expression} AS ${sqlColumns(index)[place]}`)
    .join(', ');
}
