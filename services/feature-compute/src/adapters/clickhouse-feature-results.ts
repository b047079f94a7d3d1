import { fromVerdictRow, type History, type ResultRow, toVerdictRow } from '@millrace/history';
import type { FeatureResult, FeatureResultBook } from '../app/expectations/feature-judge.ts';

const table = 'feature_expectation_results';

/** `feature_expectation_results` in ClickHouse, for 30 days. */
export function createFeatureResultBook(history: History): FeatureResultBook {
  let made: Promise<void> | undefined;
  const ensured = (): Promise<void> => {
    made ??= history
      .command(
        `CREATE TABLE IF NOT EXISTS ${table} (
          view LowCardinality(String), version LowCardinality(String), expectation LowCardinality(String), check LowCardinality(String),
          severity LowCardinality(String), outcome LowCardinality(String), start_us Int64, end_us Int64, observed Nullable(Float64),
          bound String, rows UInt64, message String
        ) ENGINE = MergeTree ORDER BY (view, expectation, end_us) TTL toDateTime(intDiv(end_us, 1000000)) + INTERVAL 30 DAY`,
      )
      .catch((cause) => {
        made = undefined;
        throw cause;
      });
    return made;
  };
  return {
    async add(results) {
      await ensured();
      await history.client.insert({ table, format: 'JSONEachRow', values: results.map(toStored) });
    },
    async list({ view, expectation, limit, latest }) {
      await ensured();
      const rows = await history.query<ResultRow>(
        `SELECT * FROM ${table} WHERE view = {view: String} AND ({expectation: String} = '' OR expectation = {expectation: String})
         ORDER BY end_us DESC, expectation ${latest ? 'LIMIT 1 BY expectation' : ''} LIMIT {limit: UInt32}`,
        { view, expectation, limit },
      );
      return rows.map(fromStored);
    },
  };
}

function toStored(result: FeatureResult): ResultRow {
  const { view, version, severity } = result;
  return { view, version, severity, ...toVerdictRow(result) };
}

function fromStored(row: ResultRow): FeatureResult {
  return {
    view: String(row.view),
    version: String(row.version),
    severity: String(row.severity) as FeatureResult['severity'],
    ...fromVerdictRow(row),
  };
}
