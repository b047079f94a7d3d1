/**
 * Events of a source whose events may be corrected (`changes: 'upsert'`): history has a row for each operation, in the order of (`_seq`, `_index`),
 * and `_operation` says what it is. As of a position an event is what its last operation up to it says.
 */
export type Change = 'insert' | 'replace' | 'delete';

/** Until the end of time. */
const noPosition = '18446744073709551615';

/**
 * A subquery with every version of every event, and the last position that it is true of in `_last_seq`: a version counts as of position p when
 * `_seq <= p AND p <= _last_seq`. Only ids with a correction or deletion are sorted. `only` is a condition on the columns of the table: versions
 * that do not meet it are left out, after it is clear which they are.
 */
export function versionsSql(table: string, only = '1'): string {
  const changed = `SELECT _event_id FROM ${table} WHERE _operation != 'insert'`;
  const touched = only === '1' ? changed : `SELECT _event_id FROM ${table} WHERE ${only} AND _event_id IN (${changed})`;
  const next =
    'leadInFrame(_seq, 1, toUInt64(0)) OVER (PARTITION BY _event_id ORDER BY _seq, _index ROWS BETWEEN CURRENT ROW AND 1 FOLLOWING)';
  return `(SELECT *, toUInt64(${noPosition}) AS _last_seq FROM ${table} WHERE ${only} AND _event_id NOT IN (${changed})
    UNION ALL
    SELECT * EXCEPT (_next_seq), if(_next_seq = 0, toUInt64(${noPosition}), _next_seq - 1) AS _last_seq
    FROM (SELECT *, ${next} AS _next_seq FROM ${table} WHERE _event_id IN (${touched}))
    WHERE _operation != 'delete' AND ${only})`;
}

/** A subquery with what the events are as of a position, an expression. */
export function currentSql(table: string, position: string): string {
  return `(SELECT * FROM ${versionsSql(table)} WHERE _seq <= ${position} AND _last_seq >= ${position})`;
}
