import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { delaysView } from './compute-definitions.ts';
import { type ComputeHarness, openHarness } from './compute-harness.ts';
import { close, oracle } from './compute-oracle.ts';
import { hourUs, originUs, randomEvents, type TestEvent } from './compute-world.ts';

let world: ComputeHarness;
const events: TestEvent[] = [];
const nowUs = originUs + 4 * hourUs;

beforeAll(async () => {
  world = await openHarness();
  await world.apply(delaysView('delays'));
});

afterAll(() => world?.close());

test('a new view on an old source is filled from history before it is ready, and an old version goes when nobody pins it', async () => {
  const service = await world.start();
  const first = await world.ready(world.definition('delays'));
  expect(first.entities).toBe(0n);
  for (let hour = 0; hour < 4; hour++) {
    const more = randomEvents({ events: 300, codes: 6, fromUs: originUs + hour * hourUs, spanUs: hourUs, seed: hour });
    events.push(...more);
    await world.publish(more);
  }
  await world.caughtUp();

  // live events keep coming while the second view is being filled
  const added = world.apply(delaysView('delays_again'));
  const live = randomEvents({ events: 100, codes: 6, fromUs: nowUs - hourUs / 2, spanUs: hourUs / 2, seed: 99 });
  events.push(...live);
  await world.publish(live);
  await added;
  const view = world.definition('delays_again');
  await world.ready(view);
  await world.caughtUp();
  for (const code of ['C0', 'C1', 'C2', 'C5']) {
    for (const asOfUs of [nowUs, nowUs + hourUs / 3, nowUs + 20 * hourUs]) {
      await eventually(async () => {
        const values = await world.values(view, code, asOfUs);
        const expected = oracle(view, events, code, asOfUs);
        expect(close(values, expected), `${code}: ${values} is not ${expected}`).toBe(true);
      });
    }
  }

  // another version takes its place; nothing pins the old one, so its rows go
  await world.apply(delaysView('delays_again', { filter: 'delay > 0.0' }));
  const next = world.definition('delays_again');
  expect(next.version).not.toBe(view.version);
  await world.ready(next);
  await eventually(async () => expect(await world.values(view, 'C0', nowUs)).toBeUndefined());
  expect(await world.values(next, 'C0', nowUs)).toBeDefined();
  expect(service.running).toBe(true);
});
