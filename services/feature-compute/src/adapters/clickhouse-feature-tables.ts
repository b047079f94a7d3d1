import { asOfSql, currentSql, type ViewDefinition } from '@millrace/features';
import { eventTable, type History, historyError, viewEvents } from '@millrace/history';
import type { CheckTable, FailedExpectation } from '../app/expectations/table-checks.ts';
import type { Materialization, Shard } from '../app/materialize/materialization.ts';
import type { FeatureTables } from '../app/materialize/materialize.ts';
import { sqlLiteral, sqlName } from '../app/sql.ts';

/** The table of a view's values. */
export function featureTable(view: string): string {
  return `features_${view}`;
}

/**
 * `features_<view>`: the join keys, `as_of`, `version`, a column for each feature, `_written`. Rows of one entity, time and version replace each other,
 * the newest `_written` last: read it with FINAL. All statements run in one thread.
 */
export function createFeatureTables(history: History): FeatureTables {
  async function command(query: string, signal?: AbortSignal): Promise<number> {
    try {
      const settings = { max_threads: 1, max_insert_threads: '1' } as const;
      const { summary } = await history.client.command({
        query,
        clickhouse_settings: settings,
        ...(signal ? { abort_signal: signal } : {}),
      });
      return Number(summary?.written_rows ?? 0);
    } catch (cause) {
      throw historyError(history.url, cause);
    }
  }

  return {
    async extent(view, beforeUs) {
      const keys = view.joinKeys.map(({ field }) => sqlName(field)).join(', ');
      const [row] = await history.query<{ entities: string; position: string }>(
        `SELECT uniqExact(tuple(${keys})) AS entities, (SELECT max(_seq) FROM ${eventTable(view.source)}) AS position
         FROM ${eventsAsOf(view, '18446744073709551614')} WHERE _event_time < fromUnixTimestamp64Micro(toInt64(${beforeUs}))`,
      );
      return { entities: Number(row?.entities ?? 0), position: Number(row?.position ?? 0) };
    },

    async ensure(view) {
      const table = sqlName(featureTable(view.name));
      const keys = view.joinKeys.map(({ name }) => sqlName(name)).join(', ');
      const nothing = { position: 0, everyUs: 1, entityParts: 1 };
      const select = valuesSql(view, nothing, { part: 0, fromUs: 1, times: 1 });
      await command(
        `CREATE TABLE IF NOT EXISTS ${table} ENGINE = ReplacingMergeTree(_written) ORDER BY (version, ${keys}, as_of) EMPTY AS ${select}`,
      );
      // features that the table does not have yet: it is made for every version of the view
      const columns = await history.query<{ name: string; type: string }>(`DESCRIBE TABLE (${select})`);
      const added = columns.map(({ name, type }) => `ADD COLUMN IF NOT EXISTS ${sqlName(name)} ${type}`);
      await command(`ALTER TABLE ${table} ${added.join(', ')}`);
    },

    async write(view, job, shard, signal) {
      const names = [...view.joinKeys, ...view.features].map(({ name }) => sqlName(name));
      const columns = [...names, 'as_of', 'version', '_written'].join(', ');
      return command(
        `INSERT INTO ${sqlName(featureTable(view.name))} (${columns}) SELECT ${columns} FROM (${valuesSql(view, job, shard)})`,
        signal,
      );
    },
  };
}

/** The events up to a position, as they were then where they may be corrected. */
function eventsAsOf({ source, changes }: ViewDefinition, position: string): string {
  return changes === 'upsert' ? currentSql(eventTable(source), position) : eventTable(source);
}

/** What is expected of the features and the rows of a job do not meet; of derived ones, which the table does not have, nothing is said. */
export function checkRows(
  check: CheckTable,
): (view: ViewDefinition, job: Materialization, signal: AbortSignal) => Promise<readonly FailedExpectation[]> {
  return (view, { fromUs, toUs }, signal) => {
    const at = (us: number) => `fromUnixTimestamp64Micro(toInt64(${us}), 'UTC')`;
    const from = `${sqlName(featureTable(view.name))} FINAL WHERE version = ${sqlLiteral(view.version)} AND as_of >= ${at(fromUs)} AND as_of < ${at(toUs)}`;
    const columns = new Map(view.features.map(({ name }) => [name, name]));
    return check(view, from, columns, [...view.joinKeys.map(({ name }) => name), 'as_of'], signal);
  };
}

/** A shard's rows: every entity of the part that had an event by then, at each of its times. */
function valuesSql(
  view: ViewDefinition,
  { position, everyUs, entityParts }: Pick<Materialization, 'position' | 'everyUs' | 'entityParts'>,
  { part, fromUs, times }: Shard,
): string {
  const names = view.joinKeys.map(({ name }) => sqlName(name));
  const fields = view.joinKeys.map(({ field }) => sqlName(field));
  const asKeys = fields.map((field, at) => `${field} AS ${names[at]}`).join(', ');
  const hash = `sipHash64(tuple(${fields.join(', ')}))`;
  const lastUs = fromUs + (times - 1) * everyUs;
  // asOfSql gives back the numbers of samples alone: the same list, with the same numbers, is joined again
  const samples = `SELECT sipHash64(tuple(${names.join(', ')}), as_of) AS sample_id, * FROM (
      SELECT ${names.join(', ')}, fromUnixTimestamp64Micro(toInt64(${fromUs} + n * ${everyUs}), 'UTC') AS as_of, toUInt64(${position}) AS position
      FROM (SELECT ${asKeys}, min(_event_time) AS first_seen FROM ${eventsAsOf(view, `${position}`)}
            WHERE _seq <= ${position} AND _event_time < fromUnixTimestamp64Micro(toInt64(${lastUs})) AND ${hash} % ${entityParts} = ${part}
            GROUP BY ${fields.join(', ')})
      ARRAY JOIN range(${times}) AS n
      WHERE first_seen < as_of)`;
  const values = view.features.map(({ name }) => `f.${sqlName(name)} AS ${sqlName(name)}`).join(', ');
  return `SELECT ${names.map((name) => `s.${name} AS ${name}`).join(', ')}, s.as_of AS as_of, ${sqlLiteral(view.version)} AS version, ${values},
      now64(6, 'UTC') AS _written
    FROM (${samples}) AS s INNER JOIN (${asOfSql(view, viewEvents(view), samples)}) AS f ON s.sample_id = f.sample_id`;
}
