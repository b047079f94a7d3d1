import { compute } from '@millrace/contracts';
import type { History } from '@millrace/history';
import type { TrainingSetBook } from '../app/training/training-set.ts';

const table = 'training_sets';
type Stored = { readonly record: string };

/** Records of training sets in ClickHouse, for good. */
export function createTrainingSetBook(history: History): TrainingSetBook {
  let made: Promise<void> | undefined;

  function ensured(): Promise<void> {
    made ??= history
      .command(
        `CREATE TABLE IF NOT EXISTS ${table} (
          id String, created_us Int64, feature_service String, feature_service_version String, digest String, rows UInt64,
          label_query String, seed UInt32, record String
        ) ENGINE = MergeTree ORDER BY (created_us, id)`,
      )
      .catch((cause) => {
        made = undefined;
        throw cause;
      });
    return made;
  }

  return {
    async add(record) {
      await ensured();
      const row = {
        id: record.id,
        created_us: String(record.createdUs),
        feature_service: record.featureService,
        feature_service_version: record.featureServiceVersion,
        digest: record.digest,
        rows: String(record.rows),
        label_query: record.labelQuery,
        seed: record.seed,
        record: Buffer.from(compute.TrainingSetRecord.encode(record).finish()).toString('base64'),
      };
      await history.client.insert({ table, format: 'JSONEachRow', values: [row] });
    },
    async list(featureService, limit) {
      await ensured();
      const rows = await history.query<Stored>(
        `SELECT record FROM ${table} WHERE {service:String} = '' OR feature_service = {service:String}
         ORDER BY created_us DESC, id LIMIT {limit:UInt32}`,
        { service: featureService, limit },
      );
      return rows.map(decoded);
    },
    async get(id) {
      await ensured();
      const [row] = await history.query<Stored>(`SELECT record FROM ${table} WHERE id = {id:String}`, { id });
      return row && decoded(row);
    },
  };
}

function decoded({ record }: Stored): compute.TrainingSetRecord {
  return compute.TrainingSetRecord.decode(Buffer.from(record, 'base64'));
}
