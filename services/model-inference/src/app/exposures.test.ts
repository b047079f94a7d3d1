import { definitions } from '@millrace/contracts';
import { expect, test } from 'vitest';
import type { Assignment } from './assign.ts';
import { createExposures, type Exposure } from './exposures.ts';

function open(unit = 'keys.user', publish?: () => Promise<void>) {
  const sent: Exposure[] = [];
  const counts = { logged: 0, dropped: 0, problems: 0 };
  const exposures = createExposures({
    deployment: (name) =>
      name === 'fraud' ? { version: 'v1', spec: definitions.Deployment.fromPartial({ unit }) } : undefined,
    publish: async (_deployment, _version, batch) => {
      await publish?.();
      sent.push(...batch);
    },
    nowUs: () => 7,
    onLogged: (count) => {
      counts.logged += count;
    },
    onDropped: (count) => {
      counts.dropped += count;
    },
    onProblem: () => {
      counts.problems++;
    },
  });
  const expose = (of: string, version = '1', rule = '') =>
    exposures.expose('fraud', { model: 'm', version, unit: of, rule, route: undefined } satisfies Assignment, {
      name: 'm',
      version,
    });
  return { exposures, expose, sent, counts };
}

test('a unit is logged once for each version and rule that it goes to', async () => {
  const { exposures, expose, sent, counts } = open();
  for (let at = 0; at < 5; at++) expose('ada');
  expose('ada', '2');
  expose('ada', '2', 'beta');
  expose('bob');
  await exposures.flush();
  expose('ada');
  await exposures.flush();
  expect(sent.map(({ unit, modelVersion, rule }) => `${unit} ${modelVersion} ${rule}`)).toEqual([
    'ada 1 ',
    'ada 2 ',
    'ada 2 beta',
    'bob 1 ',
  ]);
  expect(sent[0]?.exposedUs).toBe(7);
  expect(counts).toEqual({ logged: 4, dropped: 0, problems: 0 });
});

test('nothing is logged of a deployment that declares no unit', async () => {
  const { exposures, expose, sent } = open('');
  expose('ada');
  await exposures.flush();
  expect(sent).toEqual([]);
});

test('what could not be sent is sent later, in messages of a thousand at most; beyond the limit it is dropped and counted', async () => {
  let isUp = false;
  const { exposures, expose, sent, counts } = open('keys.user', async () => {
    if (!isUp) throw new Error('down');
  });
  for (let at = 0; at < 100_010; at++) expose(`u${at}`);
  await exposures.flush();
  expect(counts).toEqual({ logged: 0, dropped: 10, problems: 1 });
  isUp = true;
  await exposures.flush();
  expect(counts.logged).toBe(100_000);
  expect(new Set(sent.map(({ unit }) => unit)).size).toBe(100_000);
  // what was dropped is logged when it comes again
  expose('u100009');
  await exposures.flush();
  expect(sent.at(-1)?.unit).toBe('u100009');
});
