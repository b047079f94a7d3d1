import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { definitions, serving } from '@millrace/contracts';
import { createRowWriter, entityKey, rowField } from '@millrace/hot';
import {
  type Flight,
  flightsSource,
  NOON_US,
  request,
  routeEntity,
  rowOf,
  type ServingWorld,
  service,
  view,
} from '../integration/serving-world.ts';

/**
 * What the benchmarks of online-serving share: 5 views of 10 windowed features for 10,000 entities in real Redis, one core for the server
 * and the other for Redis and the clients.
 */
const views = 5;
const entities = 10_000;
const { AggregationFunction } = definitions;

export const method = '/millrace.serving.v1.FeatureService/GetFeatures';

const names = Array.from({ length: views }, (_, i) => `bench_view_${i}`);

function benchView(name: string): definitions.Definition {
  const { COUNT, SUM, MEAN, MIN, MAX, STDDEV } = AggregationFunction;
  return view(name, 'route', [
    { name: 'count_1h', function: COUNT, hours: 1 },
    { name: 'mean_1h', function: MEAN, field: 'delay', hours: 1 },
    { name: 'sum_3h', function: SUM, field: 'distance', hours: 3 },
    { name: 'max_3h', function: MAX, field: 'delay', hours: 3 },
    { name: 'count_24h', function: COUNT, hours: 24 },
    { name: 'mean_24h', function: MEAN, field: 'delay', hours: 24 },
    { name: 'min_24h', function: MIN, field: 'delay', hours: 24 },
    { name: 'stddev_24h', function: STDDEV, field: 'delay', hours: 24 },
    { name: 'count_7d', function: COUNT, hours: 168 },
    { name: 'sum_7d', function: SUM, field: 'distance', hours: 168 },
  ]);
}

/** Registers the definitions and writes a row for each view and entity, with the real codec. */
export async function prepare(world: ServingWorld, progress: (text: string) => void): Promise<void> {
  const first = benchView(names[0] ?? '');
  const spec = first.spec?.$case === 'featureView' ? first.spec.value : undefined;
  await world.apply(
    routeEntity,
    flightsSource,
    ...names.map(benchView),
    service(
      'bench',
      names.flatMap((name) => (spec?.features ?? []).map((feature) => ({ view: name, feature: feature.name }))),
    ),
  );
  const writer = createRowWriter(world.hot);
  let rowBytes = 0;
  for (let start = 0; start < entities; start += 500) {
    const rows = Array.from({ length: 500 }, (_, i) => start + i).flatMap((entity) => {
      const flights = flightsOf(entity);
      return names.map((name) => {
        const definition = world.definition(name);
        const row = rowOf(definition, flights, entity + 1);
        rowBytes += row.length;
        return {
          key: entityKey('route', keysOf(entity)),
          field: rowField(definition.name, definition.version),
          row,
        };
      });
    });
    await writer.write(rows);
  }
  progress(`${entities * views} rows in Redis, ${Math.round(rowBytes / entities / views)} bytes each on average`);
}

/** As many flights as an ordinary route has: about 6 in the last day. */
function flightsOf(entity: number): Flight[] {
  const [origin, destination] = keysOf(entity);
  return Array.from({ length: 6 }, (_, i) => ({
    timeUs: NOON_US - (6 - i) * 3 * 3_600_000_000 - entity * 1_000_003,
    origin,
    destination,
    airlineId: entity % 10,
    delay: ((entity * 31 + i * 17) % 90) - 15,
    distance: 100 + (entity % 2000),
    tail: `N${entity}`,
  }));
}

function keysOf(entity: number): [string, string] {
  return [`O${Math.floor(entity / 100)}`, `D${entity % 100}`];
}

export function readRequest(rows: number): serving.GetFeaturesRequest {
  const keys = Array.from({ length: rows }, (_, i) => keysOf((i * 97 + 13) % entities));
  return request({
    service: 'bench',
    keys: { origin: keys.map(([origin]) => origin), destination: keys.map(([, destination]) => destination) },
    asOfUs: NOON_US,
    more: { omitMetadata: true },
  });
}

export function checkAnswer(answer: serving.GetFeaturesResponse, rows: number): void {
  const present = answer.statuses.filter((status) => status === serving.ValueStatus.PRESENT).length;
  if (answer.statuses.length !== rows * 50 || present < answer.statuses.length * 0.5) {
    throw new Error(`expected ${rows * 50} values, most of them PRESENT; got ${present} of ${answer.statuses.length}`);
  }
}

/** Runs a load generator of ./grpc beside the stores, away from the server, and returns what it printed. */
export async function runClient<Measured>(file: string, args: readonly (string | number)[]): Promise<Measured> {
  const child = spawn(...pinned(1, [join(import.meta.dirname, 'grpc', file), ...args.map(String)]), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return JSON.parse(line) as Measured;
}

const hasTaskset = spawnSync('taskset', ['--version']).status === 0;

/** A Node process on one core, where the machine can do that. */
export function pinned(core: number, args: readonly string[]): [string, string[]] {
  return onCore(core, process.execPath, args);
}

export function onCore(core: number, command: string, args: readonly string[]): [string, string[]] {
  return hasTaskset ? ['taskset', ['-c', String(core), command, ...args]] : [command, [...args]];
}

export function pin(pid: number, core: number): void {
  if (hasTaskset) spawnSync('taskset', ['-a', '-c', '-p', String(core), String(pid)]);
}

export const round1 = (value: number) => Math.round(value * 10) / 10;
export const round3 = (value: number) => Math.round(value * 1000) / 1000;
