import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { delaysView } from './compute-definitions.ts';
import { type ComputeHarness, openHarness } from './compute-harness.ts';
import { close, oracle } from './compute-oracle.ts';
import { hourUs, originUs, randomEvents, type TestEvent } from './compute-world.ts';

let world: ComputeHarness;
const codes = 12;
const events: TestEvent[] = [];
const nowUs = originUs + 6 * hourUs;

beforeAll(async () => {
  world = await openHarness();
  await world.apply(delaysView('delays'));
});

afterAll(() => world?.close());

async function publishMore(seed: number, batches = 40): Promise<void> {
  for (let batch = 0; batch < batches; batch++) {
    const more = randomEvents({ events: 50, codes, fromUs: originUs, spanUs: 6 * hourUs, seed: seed * 1_000 + batch });
    events.push(...more);
    await world.publish(more);
  }
}

async function expectAllRight(): Promise<void> {
  const view = world.definition('delays');
  await eventually(
    async () => {
      for (let code = 0; code < codes; code++) {
        for (const asOfUs of [nowUs, nowUs + 2 * hourUs]) {
          const values = await world.values(view, `C${code}`, asOfUs);
          const expected = oracle(view, events, `C${code}`, asOfUs);
          expect(close(values, expected), `C${code}: ${values} is not ${expected}`).toBe(true);
        }
      }
    },
    { timeoutMs: 30_000 },
  );
}

test('kill -9 of compute in mid-stream, again and again, ends in the values of an undisturbed run', async () => {
  const service = await world.start({ MILLRACE_COMPUTE_CHECKPOINT_INTERVAL_MS: '150' });
  await world.ready(world.definition('delays'));
  // once the view is saved as ready, no crash makes it start over
  await publishMore(9, 2);
  await eventually(async () => expect((await world.status()).checkpointPosition).toBeGreaterThan(0n), {
    timeoutMs: 10_000,
  });
  for (let round = 1; round <= 3; round++) {
    const publishing = publishMore(round);
    await new Promise((resolve) => setTimeout(resolve, 130 * round));
    await service.kill9();
    await service.restart();
    await publishing;
  }
  await expectAllRight();
  expect(service.logs()).not.toContain('view_starts_over');
});

test('rows come back after Redis was emptied, without a replay', async () => {
  const before = await world.status();
  await world.hot.redis.flushall();
  await expectAllRight();
  const after = await world.status();
  expect(after.eventsApplied).toBe(before.eventsApplied);
  expect(after.rowsWritten).toBeGreaterThan(before.rowsWritten);
});

test('rows come back after kill -9 of Redis while events flow', async () => {
  const publishing = publishMore(9);
  await world.mesh.redis.kill9();
  await world.mesh.redis.restart();
  await publishing;
  await expectAllRight();
});

test('events that came while compute was down are in the rows after its start', async () => {
  await world.service().kill9();
  await publishMore(20, 5);
  await world.service().restart();
  await expectAllRight();
});
