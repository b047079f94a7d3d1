import { setTimeout as sleep } from 'node:timers/promises';
import {
  asOfSql,
  type ElementType,
  elementOf,
  type FeatureDefinition,
  type FeatureType,
  type FeatureValue,
  type FieldType,
  isVectorType,
  type Scalar,
  type ViewDefinition,
} from '@millrace/features';
import { eventTable, type History, maxSeq, viewEvents } from '@millrace/history';
import type { HistoryReader, HistoryRow, HistorySample } from '../app/read-features.ts';
import type { PlannedView } from '../domain/plan.ts';

const pollMs = 100;

/** The age of an entity's row as of a time, in seconds; null where it had none. */
const rowAge: FeatureDefinition = {
  ...{ name: 'millrace_row_age', function: 'age', field: '', filter: '', ddof: 1 },
  window: { t: 'lifetime' },
};

/** Reads values as of a time from ClickHouse, by the SQL twin of the view, once history holds every event that the rows reflect. */
export function createHistoryReader(opened: () => Promise<History>): HistoryReader {
  return {
    async read(view, samples, signal) {
      const table = eventTable(view.definition.source);
      const history = await within(signal, opened());
      const newest = samples.reduce((largest, { position }) => Math.max(largest, position), 0);
      while ((await within(signal, maxSeq(history, table))) < newest) await sleep(pollMs, undefined, { signal });
      const records = await recordsOf(history, view.definition, samples, signal);
      const valuesBySample = new Map([...records].map(([row, record]) => [row, valuesOf(view, record)]));
      // its age goes by all of the entity's events: asked only where something goes by it
      const hasMaxAge = Number.isFinite(view.maxAgeUsMin);
      const isOpen = ({ row }: HistorySample) => hasMaxAge || isNothing(valuesBySample.get(row));
      const asked = samples.filter(isOpen);
      const ageView = { ...view.definition, features: [rowAge], derived: [] };
      const ages = asked.length === 0 ? undefined : await recordsOf(history, ageView, asked, signal);
      return new Map(
        samples.flatMap((sample): [number, HistoryRow][] => {
          const values = valuesBySample.get(sample.row);
          if (!values) return [];
          const age = ages?.get(sample.row)?.[rowAge.name];
          const lastEventTimeUs =
            age === undefined || age === null ? age : sample.asOfUs - Math.round(Number(age) * 1e6);
          return [[sample.row, { values, lastEventTimeUs }]];
        }),
      );
    },
  };
}

/** By the number of the sample. */
async function recordsOf(
  history: History,
  view: ViewDefinition,
  samples: readonly HistorySample[],
  signal: AbortSignal,
): Promise<ReadonlyMap<number, Readonly<Record<string, unknown>>>> {
  const result = await history.client.query({
    query: asOfSql(view, viewEvents(view), samplesSubquery(view)),
    query_params: samplesParameters(view, samples),
    format: 'JSONEachRow',
    abort_signal: signal,
    clickhouse_settings: { output_format_json_quote_64bit_integers: 1 },
  });
  const records = await result.json<Record<string, unknown>>();
  return new Map(records.map((record) => [Number(record.sample_id), record]));
}

/** Whether values would be these had the entity no event. */
function isNothing(values: HistoryRow['values'] | undefined): boolean {
  const isEmpty = (value: FeatureValue) =>
    value === null || (typeof value === 'object' && value.every((each) => Number(each) === 0));
  return values !== undefined && [...values.values()].every((value) => isEmpty(value) || Number(value) === 0);
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

function samplesSubquery({ joinKeys: keys }: ViewDefinition): string {
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

function samplesParameters({ joinKeys }: ViewDefinition, samples: readonly HistorySample[]): Record<string, unknown> {
  return {
    sample_ids: samples.map((sample) => sample.row),
    as_ofs: samples.map((sample) => sample.asOfUs),
    positions: samples.map((sample) => sample.position),
    ...Object.fromEntries(joinKeys.map((_, i) => [`key_${i}`, samples.map((sample) => sample.keys[i])])),
  };
}

function valuesOf(view: PlannedView, record: Readonly<Record<string, unknown>>): HistoryRow['values'] {
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
