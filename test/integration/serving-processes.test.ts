import { serving } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  flightsSource,
  NOON_US,
  openServingWorld,
  request,
  routeEntity,
  routeView,
  type ServingWorld,
  service,
} from './serving-world.ts';

const clientsCount = 8;
const inFlight = 4;
let world: ServingWorld;
const clients: ReturnType<typeof openClient>[] = [];

const openClient = () => connect(serving.FeatureServiceService, world.online.grpc, { defaultTimeoutMs: 5_000 });
const read = request({ service: 'delays', keys: { origin: ['ORD'], destination: ['ATL'] }, asOfUs: NOON_US });

beforeAll(async () => {
  world = await openServingWorld({ stores: ['redis', 'nats'], env: { MILLRACE_SERVING_PROCESSES: '2' } });
  const delays = service('delays', [{ view: 'route_delays', feature: 'flights_24h', alias: 'flights' }]);
  await world.apply(routeEntity, flightsSource, routeView, delays);
  for (let i = 0; i < clientsCount; i++) clients.push(openClient());
}, 120_000);

afterAll(async () => {
  for (const client of clients) client.close();
  await world?.close();
});

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`http://${world.online.http}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith(`${name}{`));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0);
}

const workers = () => [...world.online.logs().matchAll(/"process_ready","pid":(\d+)/g)].map(([, pid]) => Number(pid));

test('connections are dealt out in turns, and whichever process is asked tells the metrics of all', async () => {
  const before = await metric('millrace_serving_requests_total');
  for (const client of clients) for (let i = 0; i < 5; i++) await client.getFeatures(read);
  expect(await metric('millrace_serving_requests_total')).toBe(before + clientsCount * 5);
  expect(await metric('millrace_processes')).toBe(2);
  expect(workers()).toHaveLength(2);
});

test('one process is killed under load: only what it had in flight fails, and another takes its place', async () => {
  let failed = 0;
  let answered = 0;
  let running = true;
  const loops = clients.flatMap((client) =>
    Array.from({ length: inFlight }, async () => {
      while (running) {
        try {
          await client.getFeatures(read);
          answered++;
        } catch {
          failed++;
        }
      }
    }),
  );
  await eventually(() => answered > 500);
  const [victim] = workers();
  process.kill(victim ?? 0, 'SIGKILL');
  await eventually(() => workers().length === 3, { timeoutMs: 20_000 });
  const atRestart = answered;
  await eventually(() => answered > atRestart + 500);
  running = false;
  await Promise.all(loops);
  // half of the connections were its own
  expect(failed).toBeLessThanOrEqual(clientsCount * inFlight);
  await eventually(async () => (await metric('millrace_processes')) === 2);
  expect(await metric('millrace_process_restarts_total')).toBe(1);
  const more = openClient();
  for (let i = 0; i < 10; i++) expect((await more.getFeatures(read)).statuses.length).toBe(1);
  more.close();
});

test('a stop ends every process', async () => {
  const pids = workers().slice(1);
  const { code } = await world.online.stop();
  expect(code).toBe(0);
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow();
});
