import type { ViewDefinition } from '@millrace/features';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { delaysView } from './compute-definitions.ts';
import { type ComputeHarness, openHarness } from './compute-harness.ts';
import { close, oracle } from './compute-oracle.ts';
import { hourUs, originUs, randomEvents, secondUs, type TestEvent } from './compute-world.ts';

let world: ComputeHarness;
const published: TestEvent[] = [];
let view: ViewDefinition;

beforeAll(async () => {
  world = await openHarness();
  await world.apply(delaysView('delays'));
  view = world.definition('delays');
  await world.start();
  await world.ready(view);
});

afterAll(() => world?.close());

async function publish(events: readonly TestEvent[], options?: { msgId?: string }): Promise<void> {
  await world.publish(events, options);
  if (options?.msgId === undefined) published.push(...events);
}

async function expectRight(code: string, asOfUs: number): Promise<void> {
  await eventually(async () => {
    const values = await world.values(view, code, asOfUs);
    const expected = oracle(view, published, code, asOfUs);
    expect(close(values, expected), `${code}: ${values} is not ${expected}`).toBe(true);
  });
}

test('events become rows that read right at any later instant, until the windows are empty', async () => {
  await publish(randomEvents({ events: 500, codes: 5, fromUs: originUs, spanUs: 2 * hourUs, seed: 1 }));
  const nowUs = originUs + 2 * hourUs;
  for (const afterUs of [1, 30 * secondUs, hourUs / 2, hourUs, 3 * hourUs, 30 * hourUs]) {
    for (const code of ['C0', 'C3']) await expectRight(code, nowUs + afterUs);
  }
});

test('a late event heals every window that it belongs to', async () => {
  const nowUs = originUs + 2 * hourUs;
  await publish([{ code: 'C1', atUs: nowUs - 1.5 * hourUs, delay: 1_000 }]);
  await expectRight('C1', nowUs + 1);
  await expectRight('C1', nowUs + hourUs);
});

test('a message that is published twice counts once', async () => {
  const event = { code: 'D', atUs: originUs + hourUs, delay: 3 };
  await world.publish([event], { msgId: 'twice' });
  await world.publish([event], { msgId: 'twice' });
  published.push(event);
  await publish([{ code: 'D', atUs: originUs + hourUs + 1, delay: 4 }]);
  await expectRight('D', originUs + 6 * hourUs);
});

// last: it moves the source's frontier to today, where no window can need what came before
test('an event from the future becomes visible when its time comes', async () => {
  const soonUs = Date.now() * 1000 + 60 * secondUs;
  await publish([
    { code: 'F', atUs: soonUs - 120 * secondUs, delay: 1 },
    { code: 'F', atUs: soonUs, delay: 5 },
  ]);
  await expectRight('F', soonUs - secondUs);
  await expectRight('F', soonUs);
  await expectRight('F', soonUs + 1);
});
