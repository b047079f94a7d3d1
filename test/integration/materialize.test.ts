import { materialize } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { delaysView } from './compute-definitions.ts';
import { type ComputeHarness, openHarness } from './compute-harness.ts';
import { hourUs, originUs, randomEvents, type TestEvent } from './compute-world.ts';

const { MaterializationState } = materialize;
const codes = ['C0', 'C1', 'C2', 'C3', 'C4', 'C5'];
const secondUs = 1_000_000;
const range = { fromUs: originUs + hourUs / 2, toUs: originUs + 4 * hourUs, everyUs: secondUs };

let world: ComputeHarness;
let events: readonly TestEvent[];

beforeAll(async () => {
  world = await openHarness();
  await world.apply(delaysView('delays'));
  await world.start();
  events = randomEvents({ events: 900, codes: 6, fromUs: originUs, spanUs: 4 * hourUs, seed: 5 });
  await world.publish(events);
  await world.caughtUp();
}, 180_000);

afterAll(() => world?.close());

const client = () => connect(materialize.MaterializeServiceService, world.service().grpc, { defaultTimeoutMs: 20_000 });
const request = {
  view: 'delays',
  version: '',
  fromUs: BigInt(range.fromUs),
  toUs: BigInt(range.toUs),
  everyUs: BigInt(range.everyUs),
  allowFailedExpectations: false,
};

async function jobOf(id: string): Promise<materialize.Materialization> {
  const asked = client();
  try {
    const [job] = (await asked.listMaterializations({ id })).materializations;
    if (!job) throw new Error(`no job ${id}`);
    return job;
  } finally {
    asked.close();
  }
}

test('a past range is written once and rightly, through a kill in the middle', async () => {
  const view = world.definition('delays');
  const asked = client();
  const { materialization: job } = await asked.materialize(request);
  expect(job).toMatchObject({ view: 'delays', version: view.version, state: MaterializationState.RUNNING });
  expect((await asked.materialize(request)).materialization?.id).toBe(job?.id);
  asked.close();
  const id = job?.id ?? '';
  const middle = await eventually(
    async () => {
      const now = await jobOf(id);
      return now.shardsDone >= 1n && now;
    },
    { timeoutMs: 60_000 },
  );
  expect(middle.shardsTotal).toBeGreaterThan(2n);
  expect(middle.state).toBe(MaterializationState.RUNNING);
  expect(middle.leftUs).toBeGreaterThan(0n);
  await world.service().kill9();
  // an event of later does not count: the job's position stays
  await world.publish([{ code: 'C0', delay: 1e6, atUs: range.fromUs }]);
  await world.service().restart();
  const done = await eventually(
    async () => {
      const now = await jobOf(id);
      return now.state === MaterializationState.DONE && now;
    },
    { timeoutMs: 90_000 },
  );
  expect(done.shardsDone).toBe(done.shardsTotal);
  expect(done.position).toBe(middle.position);

  const known = new Map(codes.map((code) => [code, events.filter((event) => event.code === code)]));
  const firstUs = new Map([...known].map(([code, own]) => [code, Math.min(...own.map(({ atUs }) => atUs))]));
  const times = (range.toUs - range.fromUs) / range.everyUs;
  const expected = codes.reduce((sum, code) => {
    const from = Math.floor(((firstUs.get(code) ?? 0) - range.fromUs) / range.everyUs) + 1;
    return sum + times - Math.max(0, from);
  }, 0);
  const [counted] = await world.history.query<{ rows: string; distinct: string }>(
    'SELECT count() AS rows, uniqExact(code, as_of, version) AS distinct FROM features_delays FINAL',
  );
  expect(Number(counted?.rows)).toBe(expected);
  expect(Number(counted?.distinct)).toBe(expected);

  const samples = Array.from({ length: 400 }, (_, n) => ({
    keys: new Map([['code', codes[n % codes.length] ?? '']]),
    asOfUs: BigInt(range.fromUs + ((n * 7919) % times) * range.everyUs),
    position: done.position,
    served: [],
  }));
  const compute = world.client();
  const { results } = await compute.evaluateAsOf({ view: 'delays', version: '', features: [], samples });
  compute.close();
  const names = view.features.map(({ name }) => `\`${name}\``).join(', ');
  const rows = await world.history.query<Record<string, unknown>>(
    `SELECT code, toUnixTimestamp64Micro(as_of) AS at, ${names} FROM features_delays FINAL`,
  );
  const byKey = new Map(rows.map((row) => [`${row.code} ${row.at}`, row]));
  let compared = 0;
  for (const [at, sample] of samples.entries()) {
    const row = byKey.get(`${sample.keys.get('code')} ${sample.asOfUs}`);
    expect(row !== undefined).toBe(results[at]?.found);
    for (const [index, { name }] of view.features.entries()) {
      if (row === undefined) continue;
      const value = results[at]?.values[index]?.kind?.value;
      const written = row[name];
      if (value === undefined) expect(written).toBeNull();
      else expect(Number(written)).toBeCloseTo(Number(value), 9);
      compared++;
    }
  }
  expect(compared).toBeGreaterThan(1_000);
}, 240_000);

test('a job is cancelled, goes on when it is asked for again, and ranges that are none are refused', async () => {
  const asked = client();
  try {
    const { materialization: job } = await asked.materialize({ ...request, everyUs: request.everyUs / 2n });
    const id = job?.id ?? '';
    await eventually(async () => (await jobOf(id)).shardsDone >= 1n, { timeoutMs: 60_000 });
    const { materialization: cancelled } = await asked.cancelMaterialization({ id });
    expect(cancelled?.state).toBe(MaterializationState.CANCELLED);
    const { shardsDone } = await jobOf(id);
    expect((await jobOf(id)).state).toBe(MaterializationState.CANCELLED);
    const again = await asked.materialize({ ...request, everyUs: request.everyUs / 2n });
    expect(again.materialization).toMatchObject({ id, state: MaterializationState.RUNNING });
    expect(again.materialization?.shardsDone).toBeGreaterThanOrEqual(shardsDone);
    await asked.cancelMaterialization({ id });
    await expect(asked.materialize({ ...request, toUs: request.fromUs })).rejects.toMatchObject({
      reason: 'INVALID_ARGUMENT',
    });
    await expect(asked.materialize({ ...request, everyUs: 1n })).rejects.toMatchObject({ reason: 'LIMIT_EXCEEDED' });
    await expect(asked.materialize({ ...request, view: 'nothing' })).rejects.toMatchObject({
      reason: 'UNKNOWN_FEATURE_VIEW',
    });
    await expect(asked.cancelMaterialization({ id: 'nothing' })).rejects.toMatchObject({
      reason: 'UNKNOWN_DEFINITION',
    });
  } finally {
    asked.close();
  }
}, 120_000);
