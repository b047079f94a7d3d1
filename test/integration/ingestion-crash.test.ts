import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '@millrace/testkit';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type IngestionHarness, openHarness, publishUntilAcknowledged } from './ingestion-harness.ts';

const total = 6_000;
const size = 50;
let harness: IngestionHarness;

beforeEach(async () => {
  harness = await openHarness();
});
afterEach(() => harness?.close());

/** Publishes everything while `disturb` does its worst; then every event must be in EVENTS and in history exactly once. */
async function survives(disturb: () => Promise<void>): Promise<void> {
  const third = total / 3;
  const publishers = [0, 1, 2].map((at) => publishUntilAcknowledged(harness, at * third, (at + 1) * third, size));
  await Promise.all([...publishers, disturb()]);
  await eventually(async () => expect(Number((await harness.progress()).accepted)).toBe(total), { timeoutMs: 30_000 });
  await eventually(async () => expect(await harness.inHistory()).toEqual({ rows: total, ids: total }), {
    timeoutMs: 60_000,
  });
  await sleep(500);
  expect(await harness.inHistory()).toEqual({ rows: total, ids: total });
}

test('ingestion killed three times mid-stream loses and repeats nothing', async () => {
  await survives(async () => {
    for (let kill = 0; kill < 3; kill++) {
      await sleep(300);
      await harness.service.kill9();
      await harness.service.restart();
    }
  });
});

test('ClickHouse killed mid-stream: publishing goes on, and history catches up', async () => {
  await survives(async () => {
    await sleep(300);
    await harness.mesh.clickhouse.kill9();
    await sleep(700);
    await harness.mesh.clickhouse.restart();
  });
});

test('NATS killed mid-stream: publishers wait, and nothing is lost or repeated', async () => {
  await survives(async () => {
    for (let kill = 0; kill < 2; kill++) {
      await sleep(300);
      await harness.mesh.nats.kill9();
      await sleep(300);
      await harness.mesh.nats.restart();
    }
  });
});
