import { elementOf, type FeatureType, type FeatureValue } from '@millrace/features';
import type { History } from '@millrace/history';
import type { MismatchBook, ServedMismatch } from '../app/report-mismatches.ts';
import { columnValue } from '../app/sql.ts';

const table = 'parity_mismatches';

type Stored = Readonly<Record<string, string | null>> & { readonly keys: Readonly<Record<string, string>> };

/** Mismatches in ClickHouse, for 30 days: all compute processes keep theirs there, and a restart forgets none. */
export function createMismatchBook(history: History): MismatchBook {
  let made: Promise<void> | undefined;

  function ensured(): Promise<void> {
    made ??= history
      .command(
        `CREATE TABLE IF NOT EXISTS ${table} (
          view LowCardinality(String), version LowCardinality(String), feature LowCardinality(String), type LowCardinality(String),
          keys Map(String, String), as_of_us Int64, position UInt64, served Nullable(String), expected Nullable(String),
          feature_service LowCardinality(String), served_us Int64, found_us Int64
        ) ENGINE = MergeTree ORDER BY found_us TTL toDateTime(intDiv(found_us, 1000000)) + INTERVAL 30 DAY`,
      )
      .catch((cause) => {
        made = undefined;
        throw cause;
      });
    return made;
  }

  return {
    async add(mismatches) {
      await ensured();
      await history.client.insert({ table, format: 'JSONEachRow', values: mismatches.map(toStored) });
    },
    async list({ view, feature, limit }) {
      await ensured();
      const rows = await history.query<Stored>(
        `SELECT * FROM ${table} WHERE ({view:String} = '' OR view = {view:String}) AND ({feature:String} = '' OR feature = {feature:String})
         ORDER BY found_us DESC, view, feature LIMIT {limit:UInt32}`,
        { view, feature, limit },
      );
      return rows.map(fromStored);
    },
  };
}

function toStored(mismatch: ServedMismatch): Record<string, unknown> {
  return {
    view: mismatch.view,
    version: mismatch.version,
    feature: mismatch.feature,
    type: mismatch.type,
    keys: Object.fromEntries(mismatch.keys),
    as_of_us: mismatch.asOfUs,
    position: mismatch.position,
    served: text(mismatch.served),
    expected: text(mismatch.expected),
    feature_service: mismatch.featureService,
    served_us: mismatch.servedUs,
    found_us: mismatch.foundUs,
  };
}

/** Integers of a list as text: as numbers of JSON they would lose digits. */
function text(value: FeatureValue): string | null {
  if (typeof value === 'object' && value !== null)
    return JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? each.toString() : each));
  return value === null ? null : String(value);
}

function fromStored(row: Stored): ServedMismatch {
  const type = (row.type ?? 'STRING') as FeatureType;
  const value = (column: string) => columnValue(parsed(row[column], type), type);
  return {
    view: row.view ?? '',
    version: row.version ?? '',
    feature: row.feature ?? '',
    type,
    keys: new Map(Object.entries(row.keys)),
    asOfUs: Number(row.as_of_us),
    position: Number(row.position),
    served: value('served'),
    expected: value('expected'),
    featureService: row.feature_service ?? '',
    servedUs: Number(row.served_us),
    foundUs: Number(row.found_us),
  };
}

function parsed(text: string | null | undefined, type: FeatureType): unknown {
  if (text === null || text === undefined) return null;
  if (elementOf(type)) return JSON.parse(text);
  return type === 'BOOL' ? text === 'true' : text;
}
