import { definitions, registry, serving } from '@millrace/contracts';
import { openNats } from '@millrace/events';
import { compileView, type EventColumns, type ViewDefinition } from '@millrace/features';
import { createRowWriter, entityKey, type Hot, openRedis, rowField } from '@millrace/hot';
import { viewDefinition, watchRegistry } from '@millrace/registry';
import { connect } from '@millrace/rpc';
import { quietTelemetry } from '@millrace/runtime';
import { createTestMesh, eventually, type StoreName } from '@millrace/testkit';

/** Definitions and rows that the serving tests and benchmark share. No file here is a test. */
const { FieldType, AggregationFunction, StaleAction } = definitions;

export const HOUR_US = 3_600_000_000;
/** 2001-03-01T12:00:00Z */
export const NOON_US = 983_448_000_000_000;

export function define(name: string, spec: definitions.Definition['spec']): definitions.Definition {
  return definitions.Definition.fromPartial({
    name,
    metadata: { owner: 'tests', description: name, tags: new Map() },
    file: 'test',
    spec: spec as never,
  });
}

export const routeEntity = define('route', {
  $case: 'entity',
  value: definitions.Entity.fromPartial({
    joinKeys: [
      { name: 'origin', type: FieldType.STRING },
      { name: 'destination', type: FieldType.STRING },
    ],
  }),
});

export const airlineEntity = define('airline', {
  $case: 'entity',
  value: definitions.Entity.fromPartial({ joinKeys: [{ name: 'airline_id', type: FieldType.INT64 }] }),
});

export const flightsSource = define('flights', {
  $case: 'source',
  value: definitions.Source.fromPartial({
    fields: [
      { name: 'origin', type: FieldType.STRING },
      { name: 'destination', type: FieldType.STRING },
      { name: 'airline_id', type: FieldType.INT64 },
      { name: 'delay', type: FieldType.DOUBLE, nullable: true },
      { name: 'distance', type: FieldType.INT64 },
      { name: 'tail', type: FieldType.STRING },
    ],
  }),
});

type FeatureInput = { name: string; function: definitions.AggregationFunction; field?: string; hours: number };

export function view(name: string, entity: string, features: readonly FeatureInput[]): definitions.Definition {
  return define(name, {
    $case: 'featureView',
    value: definitions.FeatureView.fromPartial({
      entity,
      source: 'flights',
      features: features.map((feature) => ({
        name: feature.name,
        function: feature.function,
        field: feature.field ?? '',
        window: {
          kind: { $case: 'sliding' as const, value: { sizeUs: BigInt(feature.hours * HOUR_US), hopUs: 0n } },
        },
      })),
    }),
  });
}

export const routeView = view('route_delays', 'route', [
  { name: 'flights_24h', function: AggregationFunction.COUNT, hours: 24 },
  { name: 'delay_mean_24h', function: AggregationFunction.MEAN, field: 'delay', hours: 24 },
  { name: 'distance_max_24h', function: AggregationFunction.MAX, field: 'distance', hours: 24 },
  { name: 'tail_last_24h', function: AggregationFunction.LAST, field: 'tail', hours: 24 },
]);

export const airlineView = view('airline_delays', 'airline', [
  { name: 'flights_1h', function: AggregationFunction.COUNT, hours: 1 },
]);

type ReferenceInput = {
  view: string;
  feature: string;
  alias?: string;
  defaultValue?: definitions.Value['kind'];
  maxAgeUs?: number;
  staleAction?: definitions.StaleAction;
};

export function service(name: string, references: readonly ReferenceInput[]): definitions.Definition {
  return define(name, {
    $case: 'featureService',
    value: definitions.FeatureService.fromPartial({
      features: references.map((reference) => ({
        view: reference.view,
        feature: reference.feature,
        alias: reference.alias ?? '',
        maxAgeUs: BigInt(reference.maxAgeUs ?? 0),
        staleAction: reference.staleAction ?? StaleAction.SERVE,
        ...(reference.defaultValue ? { defaultValue: { kind: reference.defaultValue } } : {}),
      })) as never,
    }),
  });
}

export type Flight = {
  readonly timeUs: number;
  readonly origin: string;
  readonly destination: string;
  readonly airlineId: number;
  readonly delay: number | null;
  readonly distance: number;
  readonly tail: string;
};

export function flightColumns(flights: readonly Flight[]): EventColumns {
  const text = (pick: (flight: Flight) => string) => ({ type: 'str' as const, values: flights.map(pick), nulls: null });
  const int = (pick: (flight: Flight) => number) => ({
    type: 'i64' as const,
    values: BigInt64Array.from(flights, (flight) => BigInt(pick(flight))),
    nulls: null,
  });
  return {
    count: flights.length,
    eventTimeUs: Float64Array.from(flights, (flight) => flight.timeUs),
    columns: new Map<string, EventColumns['columns'] extends ReadonlyMap<string, infer C> ? C : never>([
      ['origin', text((flight) => flight.origin)],
      ['destination', text((flight) => flight.destination)],
      ['airline_id', int((flight) => flight.airlineId)],
      [
        'delay',
        {
          type: 'f64',
          values: Float64Array.from(flights, (flight) => flight.delay ?? 0),
          nulls: Uint8Array.from(flights, (flight) => (flight.delay === null ? 1 : 0)),
        },
      ],
      ['distance', int((flight) => flight.distance)],
      ['tail', text((flight) => flight.tail)],
    ]),
  };
}

/** The row of one entity, all of whose events are `flights`, as feature-compute would write it. */
export function rowOf(definition: ViewDefinition, flights: readonly Flight[], position = 1): Buffer {
  const compiled = compileView(definition);
  const bound = compiled.bind(flightColumns(flights));
  const state = compiled.newState();
  for (let i = 0; i < flights.length; i++) compiled.apply(state, bound, i, flights[i]?.timeUs ?? 0, position, i);
  const frontierUs = Math.max(...flights.map((flight) => flight.timeUs));
  compiled.settle(state, frontierUs, frontierUs);
  return compiled.writeRow(state, { position, knownTimeUs: frontierUs });
}

export async function writeRow(
  hot: Hot,
  definition: ViewDefinition,
  keys: readonly (string | number)[],
  row: Buffer,
): Promise<void> {
  await createRowWriter(hot).write([
    { key: entityKey(definition.entity, keys), field: rowField(definition.name, definition.version), row },
  ]);
}

export type ServingWorld = Awaited<ReturnType<typeof openServingWorld>>;

/** Real stores, governance for the registry, and online-serving; rows are written straight to Redis. */
export async function openServingWorld(options: { stores?: readonly StoreName[]; env?: Record<string, string> } = {}) {
  const mesh = await createTestMesh({ stores: options.stores ?? ['redis', 'nats', 'clickhouse'] });
  const telemetry = quietTelemetry();
  const stop = new AbortController();
  const env = { MILLRACE_CLICKHOUSE_URL: 'http://127.0.0.1:9', ...mesh.env };
  const governance = await mesh.service('governance', env);
  const nats = await openNats(mesh.nats.url, { name: 'test' });
  const watch = await watchRegistry(nats, { signal: stop.signal, telemetry });
  const hot = await openRedis(mesh.redis.url, { telemetry });
  const registryClient = connect(registry.RegistryServiceService, governance.grpc, { defaultTimeoutMs: 20_000 });
  const online = await mesh.service('online-serving', { ...env, ...options.env });
  const client = connect(serving.FeatureServiceService, online.grpc, { defaultTimeoutMs: 20_000 });
  return {
    mesh,
    hot,
    nats,
    watch,
    online,
    client,
    registry: registryClient,
    telemetry,
    /** Applies definitions and waits until online-serving has the feature services among them. */
    async apply(...defined: readonly definitions.Definition[]) {
      await registryClient.apply({ definitions: [...defined], removals: [], allowBreaking: true } as never);
      for (const { name, spec } of defined) {
        if (spec?.$case !== 'featureService') continue;
        await eventually(async () => {
          const listed = await fetch(`http://${online.http}/v1/feature-services/${name}`);
          const { version } = (await listed.json()) as { version?: string };
          return version !== undefined && version === watch.current().services.get(name)?.version;
        });
      }
    },
    definition: (name: string) => viewDefinition(watch.current(), name),
    write: (definition: ViewDefinition, keys: readonly (string | number)[], row: Buffer) =>
      writeRow(hot, definition, keys, row),
    async close() {
      client.close();
      registryClient.close();
      stop.abort();
      await hot.close();
      await nats.close();
      await mesh.close();
    },
  };
}

/** A request in the words of the generated client. */
export function request(input: {
  readonly service: string;
  readonly keys: Readonly<Record<string, readonly string[] | readonly bigint[] | readonly boolean[]>>;
  readonly asOfUs?: number;
  readonly more?: Partial<serving.GetFeaturesRequest>;
}): serving.GetFeaturesRequest {
  return serving.GetFeaturesRequest.fromPartial({
    featureService: input.service,
    asOfUs: BigInt(input.asOfUs ?? 0),
    keys: Object.entries(input.keys).map(([name, values]) => ({
      name,
      strings: values.filter((value): value is string => typeof value === 'string'),
      int64s: values.filter((value): value is bigint => typeof value === 'bigint'),
      bools: values.filter((value): value is boolean => typeof value === 'boolean'),
    })),
    ...input.more,
  } as never);
}

const statusNames = Object.fromEntries(Object.entries(serving.ValueStatus).map(([name, value]) => [value, name]));

/** The answer as rows of `[value, status]` by name. */
export function readAnswer(answer: serving.GetFeaturesResponse): Record<string, [unknown, string]>[] {
  const width = answer.features.length;
  const rows = answer.statuses.length / width;
  const doubles = answer.features.filter((feature) => feature.block === 1).length;
  const int64s = answer.features.filter((feature) => feature.block === 2).length;
  return Array.from({ length: rows }, (_, row) =>
    Object.fromEntries(
      answer.features.map((feature, i) => {
        const value =
          feature.block === 1
            ? answer.doubles[row * doubles + feature.column]
            : feature.block === 2
              ? Number(answer.int64s[row * int64s + feature.column])
              : answer.strings[feature.column]?.values[row];
        return [feature.name, [value, statusNames[answer.statuses[row * width + i] ?? 0] ?? '']];
      }),
    ),
  );
}
