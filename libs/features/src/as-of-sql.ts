import { featureSql } from './cell-sql.ts';
import { cellOf, valueOfNothing } from './cells/cell.ts';
import { compositionOf, operandsOf, type SimpleDefinition } from './compose.ts';
import { tableWithInputs, withInputs } from './inputs.ts';
import { eventColumn, sqlName } from './sql-names.ts';
import type { FeatureDefinition, ViewDefinition } from './types.ts';
import { lifetimeHopUs, type ResolvedWindow, resolveWindow, windowKey } from './windows.ts';

/**
 * Every feature of a view computed from history. `samples` is a query that gives `sample_id`, the join keys under their names, `as_of`
 * (DateTime64(6)) and `position` (UInt64): only events with `_seq <= position AND _event_time < as_of` count. `table` may be a subquery in
 * parentheses; where events may be corrected it is one of `versionsSql`. Gives a row for each sample: `sample_id` and a column for each feature (TIMESTAMP as Int64 µs); a sample without events has
 * counts and rates of 0 and nulls.
 */
export function asOfSql(given: ViewDefinition, table: string, samples: string): string {
  const view = withInputs(given);
  const fields = new Map(view.fields.map((field) => [field.name, field]));
  const operands = view.features.map((feature) =>
    operandsOf(feature).map((operand) => ({ operand, window: resolveWindow(operand.window) })),
  );
  const resolved = operands.flat().map(({ window }) => window);
  const windows = [...new Map(resolved.map((window) => [windowKey(window), window])).entries()];
  const startOf = new Map(windows.map(([key], index) => [key, `w${index}`]));
  const starts = windows.flatMap(([, { sizeUs, hopUs, offsetUs, gapUs }], index) => {
    if (gapUs > 0) return [];
    if (hopUs === lifetimeHopUs) return [`fromUnixTimestamp64Micro(toInt64(0), 'UTC') AS w${index}`];
    return [`${bucketStart(sizeUs + offsetUs, hopUs)} AS w${index}`];
  });
  const ends = windows.flatMap(([, { hopUs, offsetUs }], index) =>
    offsetUs === 0 ? [] : [`${bucketStart(offsetUs, hopUs)} AS w${index}_end`],
  );
  const names = windows.map((_, index) => `w${index}`);
  const earliest = names.length === 1 ? names[0] : `least(${names.join(', ')})`;
  const asOfUs = 'toUnixTimestamp64Micro(s.as_of)';
  const operandSql = ({ operand, window }: { readonly operand: SimpleDefinition; readonly window: ResolvedWindow }) => {
    const start = `s.${startOf.get(windowKey(window))}`;
    const within = `e._event_time >= ${start}${window.offsetUs === 0 ? '' : ` AND e._event_time < ${start}_end`}`;
    return featureSql(operand, cellOf(operand, fields), view, within, asOfUs);
  };
  const features = view.features.map((feature, index) => {
    const values = (operands[index] ?? []).map(operandSql);
    return `${compositionOf(feature)?.sql(values) ?? values[0]} AS ${sqlName(feature.name)}`;
  });
  const on = view.joinKeys.map(({ name, field }) => `${eventColumn(field)} = s.${sqlName(`k_${name}`)}`).join(' AND ');
  const keyNames = view.joinKeys.map(({ name }) => `${sqlName(name)} AS ${sqlName(`k_${name}`)}`).join(', ');
  const outer = view.features.map((feature) => `${outerSql(feature)} AS ${sqlName(feature.name)}`);
  const events = `${tableWithInputs(view, table)} AS e`;
  const asked = `SELECT ${['sample_id', keyNames, 'as_of', 'position', ...starts, ...ends].join(', ')} FROM (${samples})`;
  const sessions = windows.flatMap(([, { gapUs }], index) => (gapUs > 0 ? [{ gapUs, name: `w${index}` }] : []));
  return `WITH ${sessions.length === 0 ? `given AS (${asked})` : withSessions(asked, sessions, events, { on, known: isKnown(view) })}
    SELECT g.sample_id AS sample_id, ${outer.join(', ')} FROM given AS g LEFT JOIN (
      SELECT s.sample_id AS sample_id, ${features.join(', ')}
      FROM ${events} INNER JOIN (SELECT *, ${earliest} AS w_first FROM given) AS s ON ${on}
      WHERE e._event_time < s.as_of AND ${isKnown(view)} AND e._event_time >= s.w_first
        AND e._event_time >= (SELECT min(${earliest}) FROM given) AND e._event_time < (SELECT max(as_of) FROM given)
      GROUP BY s.sample_id
    ) AS f ON f.sample_id = g.sample_id`;
}

/** Whether an event `e` counts as of the position of a sample `s`. */
function isKnown({ changes }: ViewDefinition): string {
  return `e._seq <= s.position${changes === 'upsert' ? ' AND e._last_seq >= s.position' : ''}`;
}

/** `given` with a column for the start of each session as of its sample; where the last event is too long ago, the read time itself. */
function withSessions(
  asked: string,
  sessions: readonly { readonly gapUs: number; readonly name: string }[],
  events: string,
  { on, known }: { readonly on: string; readonly known: string },
): string {
  const eventUs = 'toUnixTimestamp64Micro(e._event_time)';
  const joins = sessions.map(({ gapUs, name }) => {
    const before = `lagInFrame(${eventUs}, 1, ${eventUs} - ${gapUs + 1}) OVER (PARTITION BY s.sample_id ORDER BY e._event_time ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)`;
    const isOver = `toUnixTimestamp64Micro(any(as_of)) - max(us) > ${gapUs}`;
    const start = `if(${isOver}, any(as_of), fromUnixTimestamp64Micro(maxIf(us, us - before > ${gapUs}), 'UTC'))`;
    return `LEFT JOIN (SELECT sample_id, ${start} AS ${name} FROM (
      SELECT s.sample_id AS sample_id, s.as_of AS as_of, ${eventUs} AS us, ${before} AS before
      FROM ${events} INNER JOIN asked AS s ON ${on} WHERE e._event_time < s.as_of AND ${known}
    ) GROUP BY sample_id) AS of_${name} ON of_${name}.sample_id = a.sample_id`;
  });
  const starts = sessions.map(({ name }) => `of_${name}.${name} AS ${name}`);
  return `asked AS (${asked}), given AS (SELECT a.*, ${starts.join(', ')} FROM asked AS a ${joins.join(' ')})`;
}

/** Of a sample without events the join has nulls and empty lists; of a histogram it is zeros, as the change of a count is. */
function outerSql(feature: FeatureDefinition): string {
  const column = `f.${sqlName(feature.name)}`;
  const { edges } = feature;
  if (edges !== undefined) return `if(empty(${column}), arrayWithConstant(${edges.length + 1}, toInt64(0)), ${column})`;
  return feature.function === 'change' && valueOfNothing(feature) === 0 ? `ifNull(${column}, toFloat64(0))` : column;
}

/** The start of the hop that holds the time so long before `as_of`. */
function bucketStart(beforeUs: number, hopUs: number): string {
  const us = `greatest(toInt64(0), intDiv(toUnixTimestamp64Micro(as_of) - ${beforeUs}, ${hopUs}) * ${hopUs})`;
  return `fromUnixTimestamp64Micro(${us}, 'UTC')`;
}
