import type { ingestion } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import {
  allFeatures,
  double,
  entity,
  featureService,
  featureView,
  lifetime,
  sliding,
  source,
  string,
} from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { column, type FullMesh, readRequest, startFullMesh, stringKeys } from '../support/full-mesh.ts';

const payments = source('payments', { key: 'user', fields: { user: string(), amount: double() } });
const user = entity('user', { joinKeys: { user: 'STRING' } });
const spend = featureView('spend', {
  entity: user,
  source: payments,
  features: (of) => ({
    count_1h: of.count({ window: sliding('1h') }),
    sum_1h: of.sum('amount', { window: sliding('1h') }),
    max_1h: of.max('amount', { window: sliding('1h') }),
    stddev_1h: of.stddev('amount', { window: sliding('1h') }),
    last_1h: of.last('amount', { window: sliding('1h') }),
    count_all: of.count({ window: lifetime() }),
    sum_all: of.sum('amount', { window: lifetime() }),
  }),
});
const profile = featureService('profile', { features: [allFeatures(spend, {})] });

const busy = Array.from({ length: 20 }, (_, index) => `user-${index}`);
/** Users who come once, before the kill: no later event writes their rows again. */
const quiet: string[] = [];
const startUs = Date.UTC(2024, 0, 1) * 1000;
const stepUs = 1_000_000;
const batchesPerKill = 60;
const eventsPerBatch = 40;

interface Payment {
  readonly id: string;
  readonly user: string;
  readonly amount: number;
  readonly timeUs: number;
}

let mesh: FullMesh;
const published: Payment[] = [];

beforeAll(async () => {
  mesh = await startFullMesh({ env: { MILLRACE_COMPUTE_CHECKPOINT_INTERVAL_MS: '150' } });
  await mesh.apply(payments, user, spend, profile);
  await mesh.viewsReady(1);
}, 180_000);

afterAll(() => mesh?.close());

const victims = [
  'ingestion',
  'feature-compute',
  'online-serving',
  'model-inference',
  'governance',
  'redis',
  'nats',
  'clickhouse',
] as const;

test.each(victims)(
  'kill -9 of %s in the middle of a replay loses nothing and counts nothing twice',
  async (victim) => {
    const part =
      victim === 'redis' || victim === 'nats' || victim === 'clickhouse' ? mesh.stores[victim] : mesh.service(victim);
    const pidBefore = part.pid;
    // some events are in a checkpoint before the kill, some are not
    await publishUntilAcknowledged([...nextBatch(), ...Array.from({ length: 8 }, (_, i) => nextOf(`${victim}-${i}`))]);
    await checkpointed();
    let killed: Promise<void> | undefined;
    for (let batch = 0; batch < batchesPerKill; batch++) {
      if (batch === Math.floor(batchesPerKill / 3)) {
        killed = (async () => {
          await part.kill9();
          await new Promise((resolve) => setTimeout(resolve, 300));
          await part.restart();
        })();
      }
      await publishUntilAcknowledged(nextBatch());
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await killed;
    expect(killed, 'the kill happened').toBeDefined();
    expect(part.pid).not.toBe(pidBefore);
    await expectUndisturbed();
  },
  180_000,
);

function nextBatch(): Payment[] {
  return Array.from({ length: eventsPerBatch }, () => next(busy[(published.length * 13) % busy.length] ?? ''));
}

function nextOf(name: string): Payment {
  quiet.push(name);
  return next(name);
}

function next(name: string): Payment {
  const index = published.length;
  // every seventh is late by up to ten minutes; amounts are quarters, so that sums are exact
  const lateUs = index % 7 === 0 ? ((index * 37) % 600) * stepUs : 0;
  const payment = {
    id: `p-${index}`,
    user: name,
    amount: ((index * 31) % 997) / 4,
    timeUs: startUs + index * stepUs - lateUs,
  };
  published.push(payment);
  return payment;
}

async function checkpointed(): Promise<void> {
  await eventually(
    async () => {
      const { checkpointPosition, streamPosition } = await mesh.clients.compute.getStatus({});
      return checkpointPosition > 0n && checkpointPosition >= streamPosition;
    },
    { timeoutMs: 30_000 },
  );
}

/** What a publisher does: the same events with the same ids again until they are acknowledged. */
async function publishUntilAcknowledged(batch: readonly Payment[]): Promise<void> {
  const events: ingestion.Event[] = batch.map(({ id, timeUs, user: name, amount }) => ({
    id,
    eventTimeUs: BigInt(timeUs),
    json: Buffer.from(JSON.stringify({ user: name, amount })),
  }));
  for (let attempt = 0; ; attempt++) {
    try {
      const response = await mesh.clients.ingestion.publish({ source: 'payments', events }, { timeoutMs: 5_000 });
      expect(response.rejections).toEqual([]);
      expect(response.accepted + response.duplicates).toBe(events.length);
      return;
    } catch (thrown) {
      if (!(thrown instanceof MeshError) || attempt > 300) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function expectUndisturbed(): Promise<void> {
  await eventually(
    async () => {
      const { sources } = await mesh.clients.ingestion
        .getProgress({ source: 'payments' })
        .catch(() => ({ sources: [] }));
      return Number(sources[0]?.historyEvents ?? 0n) >= published.length;
    },
    { timeoutMs: 60_000 },
  );
  expect(await historyCounts()).toEqual({ events: published.length, ids: published.length });

  const asOfUs = startUs + (published.length + 60) * stepUs;
  const users = [...busy, ...quiet];
  const expected = users.map((name) =>
    oracle(
      published.filter((payment) => payment.user === name),
      asOfUs,
    ),
  );
  const read = async () => {
    const response = await mesh.clients.features.getFeatures(
      readRequest('profile', [stringKeys('user', users)], asOfUs),
    );
    return users.map((_, row) =>
      Object.fromEntries(
        response.features.map(({ name }) => [name.slice('spend__'.length), column(response, name)[row] ?? null]),
      ),
    );
  };
  await eventually(
    async () => {
      const rows = await read().catch(() => []);
      return rows.length > 0 && rows.every((row, index) => row.count_all === expected[index]?.count_all);
    },
    { timeoutMs: 60_000 },
  );
  const rows = await read();
  for (const [index, row] of rows.entries()) {
    const { stddev_1h: deviation, ...exact } = expected[index] ?? oracle([], asOfUs);
    const { stddev_1h: served, ...rest } = row;
    expect(rest, users[index]).toEqual(exact);
    expect(Number(served)).toBeCloseTo(Number(deviation), 7);
  }
}

async function historyCounts(): Promise<{ events: number; ids: number }> {
  const sql = 'SELECT count() AS events, uniqExact(_event_id) AS ids FROM millrace.events_payments FORMAT JSONEachRow';
  const response = await fetch(
    `${mesh.stores.clickhouse.url}/?query=${encodeURIComponent(sql)}&output_format_json_quote_64bit_integers=0`,
  );
  return JSON.parse(await response.text()) as { events: number; ids: number };
}

function oracle(mine: readonly Payment[], asOfUs: number) {
  const hopUs = 300_000_000;
  const fromUs = Math.floor((asOfUs - 3_600_000_000) / hopUs) * hopUs;
  const inWindow = mine.filter(({ timeUs }) => timeUs >= fromUs && timeUs < asOfUs);
  const amounts = inWindow.map(({ amount }) => amount);
  const sum = amounts.reduce((total, amount) => total + amount, 0);
  const mean = sum / amounts.length;
  const variance = amounts.reduce((total, amount) => total + (amount - mean) ** 2, 0) / (amounts.length - 1);
  // a stable sort: of several at one time, the one published last
  const last = inWindow.toSorted((a, b) => a.timeUs - b.timeUs).at(-1);
  return {
    count_1h: amounts.length,
    sum_1h: amounts.length === 0 ? null : sum,
    max_1h: amounts.length === 0 ? null : Math.max(...amounts),
    stddev_1h: amounts.length < 2 ? null : Math.sqrt(variance),
    last_1h: last?.amount ?? null,
    count_all: mine.length,
    sum_all: mine.length === 0 ? null : mine.reduce((total, { amount }) => total + amount, 0),
  };
}
