import {
  asOfSql,
  type FeatureDefinition,
  type FeatureType,
  type FeatureValue,
  type Scalar,
  type ViewDefinition,
  valueOfNothing,
  viewFeatureTypes,
} from '@millrace/features';
import { type History, viewEvents } from '@millrace/history';
import { columnValue, sqlLiteral, sqlName, sqlType } from './sql.ts';

/** One entity at one instant: its keys in the view's order, as of a time and a position (0: all of history). */
export type AsOfSample = {
  readonly keys: readonly Exclude<Scalar, null>[];
  readonly asOfUs: number;
  readonly position: number;
};

export type AsOfResult = { readonly values: readonly FeatureValue[]; readonly found: boolean };

export type EvaluateOptions = {
  readonly withFound?: boolean;
  /** Nobody waits for it: one thread of the server, so that what is live is not held up. */
  readonly inBackground?: boolean;
};

export type EvaluateAsOf = (
  view: ViewDefinition,
  features: readonly string[],
  samples: readonly AsOfSample[],
  options?: EvaluateOptions,
) => Promise<readonly AsOfResult[]>;

/** A statement stays well below a megabyte, and the server's work for it bounded. */
const samplesPerStatement = 2_000;
const everyPosition = '18446744073709551615';

/** Computes features from history by SQL, one statement for each 2,000 samples. */
export function createEvaluateAsOf(deps: { readonly history: History }): EvaluateAsOf {
  return async (view, features, samples, options) => {
    const asked = options?.withFound ? [...select(view, features), seen] : select(view, features);
    const asView: ViewDefinition = { ...view, features: asked };
    const types = viewFeatureTypes(asView);
    const results: AsOfResult[] = [];
    for (let from = 0; from < samples.length; from += samplesPerStatement) {
      const chunk = samples.slice(from, from + samplesPerStatement);
      results.push(...(await evaluateChunk(asView, types, chunk, features.length, options?.inBackground === true)));
    }
    return results;
  };

  async function evaluateChunk(
    view: ViewDefinition,
    types: readonly FeatureType[],
    samples: readonly AsOfSample[],
    featureCount: number,
    inBackground: boolean,
  ): Promise<readonly AsOfResult[]> {
    const sql = asOfSql(view, viewEvents(view), samplesTable(view, samples));
    const columns = ['sample_id', ...view.features.map((feature) => feature.name)].map(sqlName).join(', ');
    const answer = await deps.history.client.query({
      query: `SELECT ${columns} FROM (${sql})`,
      format: 'JSONCompactEachRow',
      clickhouse_settings: {
        output_format_json_quote_64bit_integers: 1,
        ...(inBackground ? { max_threads: 1 } : {}),
      },
    });
    const rows = await answer.json<readonly unknown[]>();
    const found = new Map(rows.map((row) => [Number(row[0]), row]));
    return samples.map((_, index) => {
      const row = found.get(index);
      const values = view.features.map((feature, at) =>
        columnValue(row?.[at + 1] ?? valueOfNothing(feature), types[at] ?? 'DOUBLE'),
      );
      const count = values[featureCount];
      return {
        values: values.slice(0, featureCount),
        found: count === undefined ? row !== undefined : Number(count) > 0,
      };
    });
  }
}

/** Tells whether the entity has any event at all. */
const seen: FeatureDefinition = {
  name: 'millrace_seen',
  function: 'count',
  field: '',
  window: { t: 'lifetime' },
  filter: '',
  ddof: 1,
};

function select(view: ViewDefinition, features: readonly string[]): readonly FeatureDefinition[] {
  const byName = new Map(view.features.map((feature) => [feature.name, feature]));
  return features.flatMap((name) => byName.get(name) ?? []);
}

/** The samples as a table of literals. */
function samplesTable(view: ViewDefinition, samples: readonly AsOfSample[]): string {
  const columns = [
    'sample_id UInt64',
    ...view.joinKeys.map((key) => `${sqlName(key.name)} ${sqlType(key.type)}`),
    'as_of_us Int64',
    'position UInt64',
  ];
  const rows = samples.map((sample, index) => {
    const keys = sample.keys.map(sqlLiteral);
    return `(${[index, ...keys, sample.asOfUs, sample.position === 0 ? everyPosition : sample.position].join(',')})`;
  });
  const names = ['sample_id', ...view.joinKeys.map((key) => sqlName(key.name))].join(', ');
  return (
    `SELECT ${names}, fromUnixTimestamp64Micro(as_of_us, 'UTC') AS as_of, position ` +
    `FROM values(${sqlLiteral(columns.join(', '))}, ${rows.join(',')})`
  );
}
