import { setTimeout as sleep } from 'node:timers/promises';
import {
  asOfSql,
  type ElementType,
  elementOf,
  type FeatureType,
  type FeatureValue,
  type FieldType,
  isVectorType,
  type Scalar,
} from '@millrace/features';
import { eventTable, type History, maxSeq } from '@millrace/history';
import type { HistoryReader, HistoryRow, HistorySample } from '../app/read-features.ts';
import type { PlannedView } from '../domain/plan.ts';

const pollMs = 100;

/** Reads values as of a time from ClickHouse, by the SQL twin of the view, once history holds every event that the rows reflect. */
export function createHistoryReader(opened: () => Promise<History>): HistoryReader {
  return {
    async read(view, samples, signal) {
      const table = eventTable(view.definition.source);
      const sql = asOfSql(view.definition, table, samplesSubquery(view));
      const history = await within(signal, opened());
      const newest = samples.reduce((largest, { position }) => Math.max(largest, position), 0);
      while ((await within(signal, maxSeq(history, table))) < newest) await sleep(pollMs, undefined, { signal });
      const result = await history.client.query({
        query: sql,
        query_params: samplesParameters(view, samples),
        format: 'JSONEachRow',
        abort_signal: signal,
        clickhouse_settings: { output_format_json_quote_64bit_integers: 1 },
      });
      const records = await result.json<Record<string, unknown>>();
      return new Map(records.map((record) => [Number(record.sample_id), valuesOf(view, record)]));
    },
  };
}

function within<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    promise.then(resolve, reject);
  });
}

const sqlTypes: Record<FieldType, string> = {
  BOOL: 'Bool',
  INT64: 'Int64',
  DOUBLE: 'Float64',
  STRING: 'String',
  TIMESTAMP: 'Int64',
};

function samplesSubquery(view: PlannedView): string {
  const keys = view.definition.joinKeys;
  const arrays = [
    '{sample_ids:Array(UInt64)}',
    '{as_ofs:Array(Int64)}',
    '{positions:Array(UInt64)}',
    ...keys.map((key, i) => `{key_${i}:Array(${sqlTypes[key.type]})}`),
  ];
  const columns = [
    's.1 AS sample_id',
    "fromUnixTimestamp64Micro(s.2, 'UTC') AS as_of",
    's.3 AS position',
    ...keys.map((key, i) => `s.${i + 4} AS \`${key.name}\``),
  ];
  return `(SELECT ${columns.join(', ')} FROM (SELECT arrayJoin(arrayZip(${arrays.join(', ')})) AS s))`;
}

function samplesParameters(view: PlannedView, samples: readonly HistorySample[]): Record<string, unknown> {
  return {
    sample_ids: samples.map((sample) => sample.row),
    as_ofs: samples.map((sample) => sample.asOfUs),
    positions: samples.map((sample) => sample.position),
    ...Object.fromEntries(
      view.definition.joinKeys.map((_, i) => [`key_${i}`, samples.map((sample) => sample.keys[i])]),
    ),
  };
}

function valuesOf(view: PlannedView, record: Readonly<Record<string, unknown>>): HistoryRow {
  return new Map(
    view.features.map((feature) => {
      const name = view.definition.features[feature.featureIndex]?.name ?? '';
      return [name, typedValue(feature.type, record[name])];
    }),
  );
}

function typedValue(type: FeatureType, value: unknown): FeatureValue {
  if (value === null || value === undefined) return null;
  const element = elementOf(type);
  if (element === undefined) return scalarOf(type as FieldType, value);
  if (!Array.isArray(value)) return [];
  // a vector that is null is empty in ClickHouse
  if (isVectorType(type) && value.length === 0) return null;
  return value.map((each) => scalarOf(element, each));
}

function scalarOf(type: ElementType, value: unknown): Exclude<Scalar, null> {
  switch (type) {
    case 'DOUBLE':
      return Number(value);
    case 'FLOAT32':
      return Math.fround(Number(value));
    case 'BOOL':
      return value === true || Number(value) === 1;
    case 'INT64':
    case 'TIMESTAMP':
      return BigInt(String(value));
    case 'STRING':
      return String(value);
    default:
      return type satisfies never;
  }
}
