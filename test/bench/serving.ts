import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { definitions, serving } from '@millrace/contracts';
import { createRowWriter, entityKey, rowField } from '@millrace/hot';
import {
  type Flight,
  flightsSource,
  NOON_US,
  openServingWorld,
  request,
  routeEntity,
  rowOf,
  type ServingWorld,
  service,
  view,
} from '../integration/serving-world.ts';
import { type BenchCases, type BenchContext, median } from './bench.ts';

const views = 5;
const entities = 10_000;
const rounds = 3;
const secondsPerRun = 5;
const { AggregationFunction } = definitions;
const method = '/millrace.serving.v1.FeatureService/GetFeatures';

type Measured = { rps: number; p50_ms: number; p99_ms: number; calls: number; errors: number };
/** What a call costs the server, which a noisy machine alters less than its rate. */
type Costed = Measured & { cpu_ms: number };

/**
 * Requests per second of online-serving on one core, over real Redis: 1 and 100 entities × 50 features, of 5 views with 10 windowed
 * features each, for 10,000 entities. `ratio` is to a bare grpc-js server that answers the same bytes, on the same core, to the same
 * client, in turns; the client and Redis have the other core.
 */
export async function run({ progress, signal }: BenchContext): Promise<BenchCases> {
  progress('starting Redis, NATS, governance and online-serving');
  const world = await openServingWorld({ stores: ['redis', 'nats'] });
  try {
    await prepare(world, progress);
    pin(world.online.pid, 0);
    pin(world.mesh.redis.pid, 1);
    pin(world.mesh.nats.pid, 1);
    const cases: Record<string, Record<string, number>> = {};
    for (const { label, rows, inFlight } of [
      { label: '1x50', rows: 1, inFlight: 16 },
      { label: '100x50', rows: 100, inFlight: 8 },
    ]) {
      cases[label] = await measureCase(world, { label, rows, inFlight }, progress, signal);
    }
    return cases;
  } finally {
    await world.close();
  }
}

async function measureCase(
  world: ServingWorld,
  { label, rows, inFlight }: { label: string; rows: number; inFlight: number },
  progress: (text: string) => void,
  signal: AbortSignal,
): Promise<Record<string, number>> {
  const sent = readRequest(rows);
  const answer = await world.client.getFeatures(sent);
  checkAnswer(answer, rows);
  const requestFile = join(world.mesh.dir, `${label}.request`);
  const answerFile = join(world.mesh.dir, `${label}.answer`);
  const answerBytes = Buffer.from(serving.GetFeaturesResponse.encode(answer).finish());
  writeFileSync(requestFile, serving.GetFeaturesRequest.encode(sent).finish());
  writeFileSync(answerFile, answerBytes);
  const bare = await startBareServer(answerFile);
  const load = (address: string) =>
    runClient([address, method, requestFile, '1', String(inFlight), String(secondsPerRun), String(answerBytes.length)]);
  const ours: Costed[] = [];
  const theirs: Measured[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      signal.throwIfAborted();
      theirs.push(await load(bare.address));
      const beforeMs = cpuMs(world.online.pid);
      const measured = await load(world.online.grpc);
      ours.push({ ...measured, cpu_ms: (cpuMs(world.online.pid) - beforeMs) / measured.calls });
      progress(
        `${label}, round ${round + 1} of ${rounds}: ${Math.round(ours.at(-1)?.rps ?? 0)} requests/s, bare ${Math.round(theirs.at(-1)?.rps ?? 0)}`,
      );
    }
  } finally {
    bare.child.kill('SIGTERM');
  }
  const failed = [...ours, ...theirs].reduce((sum, one) => sum + one.errors, 0);
  if (failed > 0) throw new Error(`${label}: ${failed} calls failed or answered with another size`);
  checkAnswer(await world.client.getFeatures(sent), rows);
  const of = (runs: readonly Measured[], metric: keyof Measured) => median(runs.map((one) => one[metric]));
  const rps = of(ours, 'rps');
  const bareRps = of(theirs, 'rps');
  return {
    rps: round1(rps),
    p50_ms: round3(of(ours, 'p50_ms')),
    p99_ms: round3(of(ours, 'p99_ms')),
    bare_rps: round1(bareRps),
    ratio: round3(rps / bareRps),
    cpu_ms: round3(median(ours.map((one) => one.cpu_ms))),
  };
}

/** User and system time of a process, in ticks of 10 ms. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

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
async function prepare(world: ServingWorld, progress: (text: string) => void): Promise<void> {
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

function readRequest(rows: number): serving.GetFeaturesRequest {
  const keys = Array.from({ length: rows }, (_, i) => keysOf((i * 97 + 13) % entities));
  return request({
    service: 'bench',
    keys: { origin: keys.map(([origin]) => origin), destination: keys.map(([, destination]) => destination) },
    asOfUs: NOON_US,
    more: { omitMetadata: true },
  });
}

function checkAnswer(answer: serving.GetFeaturesResponse, rows: number): void {
  const present = answer.statuses.filter((status) => status === serving.ValueStatus.PRESENT).length;
  if (answer.statuses.length !== rows * 50 || present < answer.statuses.length * 0.5) {
    throw new Error(`expected ${rows * 50} values, most of them PRESENT; got ${present} of ${answer.statuses.length}`);
  }
}

async function startBareServer(answerFile: string): Promise<{ address: string; child: ChildProcess }> {
  const child = spawn(...pinned(0, [join(import.meta.dirname, 'grpc', 'bare-server.ts'), answerFile]), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return { address: (JSON.parse(line) as { address: string }).address, child };
}

async function runClient(args: readonly string[]): Promise<Measured> {
  const child = spawn(...pinned(1, [join(import.meta.dirname, 'grpc', 'lean-client.ts'), ...args]), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  return JSON.parse(line) as Measured;
}

const hasTaskset = spawnSync('taskset', ['--version']).status === 0;

/** A Node process on one core, where the machine can do that. */
function pinned(core: number, args: string[]): [string, string[]] {
  return hasTaskset ? ['taskset', ['-c', String(core), process.execPath, ...args]] : [process.execPath, args];
}

function pin(pid: number, core: number): void {
  if (hasTaskset) spawnSync('taskset', ['-a', '-c', '-p', String(core), String(pid)]);
}

const round1 = (value: number) => Math.round(value * 10) / 10;
const round3 = (value: number) => Math.round(value * 1000) / 1000;
