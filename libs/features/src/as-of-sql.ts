import { featureSql } from './cell-sql.ts';
import { cellOf } from './cells.ts';
import { eventColumn, sqlName } from './sql-names.ts';
import type { ViewDefinition } from './types.ts';
import { lifetimeHopUs, resolveWindow } from './windows.ts';

/**
 * Every feature of a view computed from history. `samples` is a query that gives `sample_id`, the join keys under their names, `as_of`
 * (DateTime64(6)) and `position` (UInt64): only events with `_seq <= position AND _event_time < as_of` count. `table` may be a subquery in
 * parentheses. Gives a row for each sample: `sample_id` and a column for each feature (TIMESTAMP as Int64 µs); a sample without events has
 * counts and rates of 0 and nulls.
 */
export function asOfSql(view: ViewDefinition, table: string, samples: string): string {
  const fields = new Map(view.fields.map((field) => [field.name, field]));
  const windows = [...new Map(view.features.map(({ window }) => [windowKey(window), resolveWindow(window)])).entries()];
  const startOf = new Map(windows.map(([key], index) => [key, `w${index}`]));
  const starts = windows.map(([, { sizeUs, hopUs }], index) => {
    const us =
      hopUs === lifetimeHopUs
        ? 'toInt64(0)'
        : `greatest(toInt64(0), intDiv(toUnixTimestamp64Micro(as_of) - ${sizeUs}, ${hopUs}) * ${hopUs})`;
    return `fromUnixTimestamp64Micro(${us}, 'UTC') AS w${index}`;
  });
  const names = windows.map((_, index) => `w${index}`);
  const earliest = names.length === 1 ? names[0] : `least(${names.join(', ')})`;
  const features = view.features.map((feature) => {
    const within = `e._event_time >= s.${startOf.get(windowKey(feature.window))}`;
    return `${featureSql(feature, cellOf(feature, fields), view, within)} AS ${sqlName(feature.name)}`;
  });
  const on = view.joinKeys.map(({ name, field }) => `${eventColumn(field)} = s.${sqlName(`k_${name}`)}`).join(' AND ');
  const keyNames = view.joinKeys.map(({ name }) => `${sqlName(name)} AS ${sqlName(`k_${name}`)}`).join(', ');
  const outer = view.features.map(({ name }) => `f.${sqlName(name)} AS ${sqlName(name)}`);
  return `WITH given AS (SELECT sample_id, ${keyNames}, as_of, position, ${starts.join(', ')} FROM (${samples}))
    SELECT g.sample_id AS sample_id, ${outer.join(', ')} FROM given AS g LEFT JOIN (
      SELECT s.sample_id AS sample_id, ${features.join(', ')}
      FROM ${table} AS e INNER JOIN (SELECT *, ${earliest} AS w_first FROM given) AS s ON ${on}
      WHERE e._event_time < s.as_of AND e._seq <= s.position AND e._event_time >= s.w_first
        AND e._event_time >= (SELECT min(${earliest}) FROM given) AND e._event_time < (SELECT max(as_of) FROM given)
      GROUP BY s.sample_id
    ) AS f ON f.sample_id = g.sample_id`;
}

function windowKey(window: ViewDefinition['features'][number]['window']): string {
  const { sizeUs, hopUs } = resolveWindow(window);
  return `${sizeUs}/${hopUs}`;
}
