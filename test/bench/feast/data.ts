import { definitions } from '@millrace/contracts';
import { compileView, type EventColumns, type ViewDefinition } from '@millrace/features';
import { createRowWriter, entityKey, rowField } from '@millrace/hot';
import { define, type ServingWorld, service } from '../../integration/serving-world.ts';

/** The workload of feast-dev/feast-benchmarks: 25 views of 10 int64 features, for 10,000 entities. */
export const views = 25;
export const perView = 10;
export const entities = 10_000;
export const eventTimeUs = Date.UTC(2026, 0, 2, 3, 4, 5) * 1000;

const { AggregationFunction, FieldType } = definitions;

/** As feast/peer.py has it: uniform over [0, 10,000), and the same on both sides. */
export const valueFor = (entity: number, feature: number): number => (entity * 7919 + feature * 104_729) % 10_000;

export const featureNames = (count: number, from = 0): string[] =>
  Array.from({ length: count }, (_, i) => `feature_${from + i}`);

export const entityDefinition = define('entity', {
  $case: 'entity',
  value: definitions.Entity.fromPartial({ joinKeys: [{ name: 'entity', type: FieldType.INT64 }] }),
});

/** A source and the view of the last values of its fields. */
export function viewDefinitions(view: string, source: string, features: readonly string[]): definitions.Definition[] {
  return [
    define(source, {
      $case: 'source',
      value: definitions.Source.fromPartial({
        fields: ['entity', ...features].map((name) => ({ name, type: FieldType.INT64 })),
        keyField: 'entity',
      }),
    }),
    define(view, {
      $case: 'featureView',
      value: definitions.FeatureView.fromPartial({
        entity: 'entity',
        source,
        features: features.map((name) => ({
          name,
          function: AggregationFunction.LAST,
          field: name,
          window: { kind: { $case: 'lifetime' as const, value: {} } },
        })),
      }),
    }),
  ];
}

export function serviceOf(count: number): definitions.Definition {
  return service(
    `service_${count}`,
    featureNames(count).map((feature, i) => ({ view: `view_${Math.floor(i / perView)}`, feature })),
  );
}

/** Writes a view's rows for all entities with the real codec, as feature-compute would; returns the bytes of the rows. */
export async function writeRows(world: ServingWorld, definition: ViewDefinition): Promise<number> {
  const features = definition.features.map(({ name }) => Number(name.slice('feature_'.length)));
  const compiled = compileView(definition);
  const writer = createRowWriter(world.hot);
  let bytes = 0;
  for (let first = 0; first < entities; first += 1000) {
    const bound = compiled.bind(eventsOf(features, first, 1000));
    const rows = Array.from({ length: 1000 }, (_, i) => {
      const state = compiled.newState();
      compiled.apply(state, bound, i, eventTimeUs, first + i + 1, 0);
      compiled.settle(state, eventTimeUs, eventTimeUs);
      const row = compiled.writeRow(state, { position: first + i + 1, knownTimeUs: eventTimeUs });
      bytes += row.length;
      return { key: entityKey('entity', [first + i]), field: rowField(definition.name, definition.version), row };
    });
    await writer.write(rows);
  }
  return bytes;
}

function eventsOf(features: readonly number[], first: number, count: number): EventColumns {
  const i64 = (pick: (entity: number) => number) => ({
    type: 'i64' as const,
    values: BigInt64Array.from({ length: count }, (_, i) => BigInt(pick(first + i))),
    nulls: null,
  });
  return {
    count,
    eventTimeUs: new Float64Array(count).fill(eventTimeUs),
    columns: new Map([
      ['entity', i64((entity) => entity)],
      ...features.map((feature) => [`feature_${feature}`, i64((entity) => valueFor(entity, feature))] as const),
    ]),
  };
}

/** The keys of a request: the same for all sides, and other ones in each of a round of requests. */
export const requestKeys = (rows: number, round: number): number[] =>
  Array.from({ length: rows }, (_, i) => ((round * rows + i) * 97 + 13) % entities);

/** Throws unless an answer of POST /get-online-features has every value of the first so many features. */
export function checkAnswer(who: string, address: string, rows: number, features: number): Promise<void> {
  const keys = requestKeys(rows, 0);
  return checkValues(who, address, { keys, body: readBody(keys, features), features: [...Array(features).keys()] });
}

/** Throws unless the answer to a body that asks for these keys has every value of these features. */
export async function checkValues(
  who: string,
  address: string,
  { keys, body, features }: { keys: readonly number[]; body: string; features: readonly number[] },
): Promise<void> {
  const response = await fetch(`http://${address}/get-online-features`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  const answer = (await response.json()) as {
    results: { values: (number | null)[]; statuses: string[] }[];
    metadata: { feature_names: string[] };
  };
  const names = answer.metadata?.feature_names ?? [];
  for (const feature of features) {
    const name = `feature_${feature}`;
    const vector = answer.results?.[names.indexOf(name)];
    const wrong = keys.findIndex(
      (key, row) => vector?.values[row] !== valueFor(key, feature) || vector.statuses[row] !== 'PRESENT',
    );
    if (wrong >= 0 || vector?.values.length !== keys.length)
      throw new Error(
        `${who} answered ${response.status} and ${name} of entity ${keys[wrong]} is ${vector?.values[wrong]}`,
      );
  }
}

export function readBody(keys: readonly number[], features: number): string {
  return JSON.stringify({ feature_service: `service_${features}`, entities: { entity: keys } });
}
