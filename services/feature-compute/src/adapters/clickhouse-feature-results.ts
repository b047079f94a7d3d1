import type { History } from '@millrace/history';
import type { FeatureResult, FeatureResultBook } from '../app/expectations/feature-judge.ts';

const table = 'feature_expectation_results';

type Row = Readonly<Record<string, string | number | null>>;

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
      const values = results.map(({ startUs, endUs, observed, ...rest }) => ({
        ...rest,
        start_us: startUs,
        end_us: endUs,
        observed: observed ?? null,
      }));
      await history.client.insert({ table, format: 'JSONEachRow', values });
    },
    async list({ view, expectation, limit, latest }) {
      await ensured();
      const rows = await history.query<Row>(
        `SELECT * FROM ${table} WHERE view = {view: String} AND ({expectation: String} = '' OR expectation = {expectation: String})
         ORDER BY end_us DESC, expectation ${latest ? 'LIMIT 1 BY expectation' : ''} LIMIT {limit: UInt32}`,
        { view, expectation, limit },
      );
      return rows.map(fromStored);
    },
  };
}

function fromStored(row: Row): FeatureResult {
  return {
    view: String(row.view),
    version: String(row.version),
    expectation: String(row.expectation),
    check: String(row.check),
    severity: String(row.severity) as FeatureResult['severity'],
    outcome: String(row.outcome) as FeatureResult['outcome'],
    startUs: Number(row.start_us),
    endUs: Number(row.end_us),
    observed: row.observed === null ? undefined : Number(row.observed),
    bound: String(row.bound),
    rows: Number(row.rows),
    message: String(row.message),
  };
}
