import type { History } from '@millrace/history';
import type { FeatureUse, UsageBook } from '../app/usage.ts';

const table = 'feature_usage';
const usesMax = 10_000;

/** Who read what, in ClickHouse, by the hour and for 400 days: a process adds its counts and parts are summed when they merge. */
export function createUsageBook(opened: () => Promise<History>): UsageBook {
  let made: Promise<History> | undefined;

  function ready(): Promise<History> {
    made ??= opened()
      .then(async (history) => {
        await history.command(
          `CREATE TABLE IF NOT EXISTS ${table} (
            hour DateTime('UTC'), view LowCardinality(String), feature LowCardinality(String), feature_service LowCardinality(String),
            consumer LowCardinality(String), requests SimpleAggregateFunction(sum, UInt64), rows SimpleAggregateFunction(sum, UInt64),
            last_read_ms SimpleAggregateFunction(max, UInt64)
          ) ENGINE = AggregatingMergeTree ORDER BY (hour, view, feature, feature_service, consumer) TTL hour + INTERVAL 400 DAY`,
        );
        return history;
      })
      .catch((cause: unknown) => {
        made = undefined;
        throw cause;
      });
    return made;
  }

  return {
    async add(uses) {
      const { client } = await ready();
      await client.insert({ table, format: 'JSONEachRow', values: uses.map(toStored) });
    },
    async since(fromMs) {
      const history = await ready();
      const rows = await history.query<Readonly<Record<string, string>>>(
        `SELECT view, feature, feature_service, consumer, sum(requests) AS requests, sum(rows) AS rows, max(last_read_ms) AS last_read_ms
         FROM ${table} WHERE hour >= toStartOfHour(fromUnixTimestamp64Milli({from_ms:Int64}, 'UTC'))
         GROUP BY view, feature, feature_service, consumer ORDER BY rows DESC, view, feature, feature_service, consumer LIMIT ${usesMax}`,
        { from_ms: Math.floor(fromMs) },
      );
      return rows.map(fromStored);
    },
  };
}

function toStored(use: FeatureUse): Record<string, unknown> {
  return {
    hour: Math.floor(use.lastReadMs / 3_600_000) * 3_600,
    view: use.view,
    feature: use.feature,
    feature_service: use.featureService,
    consumer: use.consumer,
    requests: use.requests,
    rows: use.rows,
    last_read_ms: Math.floor(use.lastReadMs),
  };
}

function fromStored(row: Readonly<Record<string, string>>): FeatureUse {
  return {
    view: row.view ?? '',
    feature: row.feature ?? '',
    featureService: row.feature_service ?? '',
    consumer: row.consumer ?? '',
    requests: Number(row.requests),
    rows: Number(row.rows),
    lastReadMs: Number(row.last_read_ms),
  };
}
