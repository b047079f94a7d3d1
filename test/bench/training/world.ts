import type { FeatureDefinition, SourceField, ViewDefinition } from '@millrace/features';
import { ensureEventTable, type History } from '@millrace/history';

const hourUs = 3_600e6;
const dayUs = 24 * hourUs;
export const startUs = 978_307_200_000_000;
export const spanUs = 30 * dayUs;
/** 5 % of the events become known up to an hour late, as corrections do; the others within two seconds. */
export const lateUs = 3_600e6;
export const source = 'bench_trips';
export const labelTable = 'bench_labels';
/** Events arrive together that become known within so long. */
const batchUs = 10e6;

export const fields: readonly SourceField[] = [
  { name: 'user', type: 'STRING', nullable: false },
  { name: 'merchant', type: 'STRING', nullable: false },
  { name: 'airport', type: 'STRING', nullable: false },
  { name: 'delay', type: 'DOUBLE', nullable: true },
  { name: 'distance', type: 'INT64', nullable: false },
];

/** Entities, and how many there are of each: about 1,000, 10,000 and 33,000 events of each in 10 million. */
export const keys = { user: 10_000, merchant: 1_000, airport: 300 } as const;
export type Key = keyof typeof keys;

const feature = (
  name: string,
  fn: FeatureDefinition['function'],
  field: string,
  sizeUs: number,
): FeatureDefinition => ({
  name,
  function: fn,
  field,
  window: { t: 'sliding', sizeUs, hopUs: 0 },
  filter: '',
  ddof: 1,
});

/** Ten windowed features over 1 h, 3 h, 24 h and 7 d. */
export const features = [
  feature('n_1h', 'count', '', hourUs),
  feature('mean_1h', 'mean', 'delay', hourUs),
  feature('max_1h', 'max', 'delay', hourUs),
  feature('n_3h', 'count', '', 3 * hourUs),
  feature('mean_3h', 'mean', 'delay', 3 * hourUs),
  feature('n_24h', 'count', '', dayUs),
  feature('mean_24h', 'mean', 'delay', dayUs),
  feature('sd_24h', 'stddev', 'delay', dayUs),
  feature('mean_7d', 'mean', 'delay', 7 * dayUs),
  feature('distance_7d', 'sum', 'distance', 7 * dayUs),
] as const;

export function viewOf(key: Key): ViewDefinition {
  const joinKeys = [{ name: key, type: 'STRING' as const, field: key }];
  return { name: key, version: '1', entity: key, joinKeys, source, fields, features };
}

/** Labels begin when every entity has had events: of one without a row there is no value, and the SQL by hand knows nothing of that. */
const labelsAfterUs = 2 * dayUs;

/** Events in the order in which they became known, in batches, and labels spread over the time from `labelsAfterUs` on. */
export async function fill(history: History, events: number, labels: number): Promise<void> {
  await ensureEventTable(history, { name: source, fields });
  const entity = (key: Key, salt: number) =>
    `concat('${key}', toString(cityHash64(number, ${salt}) % ${keys[key]})) AS ${key}`;
  const entities = (salt: number) =>
    Object.keys(keys)
      .map((key, at) => entity(key as Key, salt + at))
      .join(', ');
  await history.command(`INSERT INTO events_${source}
    SELECT toString(number), fromUnixTimestamp64Micro(t, 'UTC'),
      fromUnixTimestamp64Micro(batch * ${batchUs}, 'UTC'), batch, row_number() OVER (PARTITION BY batch ORDER BY known, number) - 1,
      user, merchant, airport, delay, distance
    FROM (SELECT *, intDiv(known, ${batchUs}) + 1 AS batch FROM (
      SELECT number, toInt64(${startUs} + number * ${Math.floor(spanUs / events)} + cityHash64(number, 1) % 200000) AS t,
        t + 50000 + cityHash64(number, 3) % if(cityHash64(number, 2) % 20 = 0, ${lateUs}, 2000000) AS known,
        ${entities(4)}, if(cityHash64(number, 7) % 50 = 0, NULL, toFloat64(cityHash64(number, 8) % 100000) / 7 - 1000) AS delay,
        toInt64(cityHash64(number, 9) % 3000) AS distance
      FROM numbers(${events})))`);
  await history.command(`CREATE TABLE ${labelTable} ENGINE = MergeTree ORDER BY label_time AS
    SELECT number AS label, fromUnixTimestamp64Micro(toInt64(${startUs + labelsAfterUs} + 17 + number * ${Math.floor((spanUs - labelsAfterUs) / labels)}), 'UTC') AS label_time,
      ${entities(14)} FROM numbers(${labels})`);
}
