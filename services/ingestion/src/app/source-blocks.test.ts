import { definitions, type expectations } from '@millrace/contracts';
import type { Registered } from '@millrace/registry';
import { quietTelemetry } from '@millrace/runtime';
import { expect, test } from 'vitest';
import { createSourceBlocks, type JudgedInterval, type SourceBlock } from './source-blocks.ts';

const spec = (severity: expectations.Severity, resumeAfterUs?: bigint) =>
  definitions.Source.fromPartial({
    expectations: [
      {
        name: 'gate',
        severity,
        check: { $case: 'volume', value: { minRows: 1n } },
        ...(resumeAfterUs === undefined ? {} : { resumeAfterUs }),
      },
    ],
  });

function setUp(first: definitions.Source) {
  const kept = new Map<string, SourceBlock>();
  const gauge: boolean[] = [];
  const audited: string[] = [];
  let current = first;
  let nowUs = 100e6;
  const blocks = createSourceBlocks({
    store: {
      of: (source) => [...kept.values()].filter((block) => block.source === source),
      all: () => kept.values(),
      put: async (block) => void kept.set(block.expectation, block),
    },
    sources: () => new Map([['s', { name: 's', spec: current } as Registered<definitions.Source>]]),
    clock: { nowUs: () => nowUs },
    telemetry: quietTelemetry(),
    audit: async ({ action, by }) => void audited.push(`${action} by ${by}`),
    gauge: (_source, _expectation, stands) => gauge.push(stands),
  });
  const fail = (startUs: number, outcome: JudgedInterval['outcome'] = 'FAIL') =>
    blocks.consider(current, {
      source: 's',
      expectation: 'gate',
      check: 'volume',
      startUs,
      endUs: startUs + 1e6,
      outcome,
      observed: 0,
      bound: 'at least 1 rows',
      rows: 0,
      message: '0 rows',
    });
  return {
    blocks,
    fail,
    kept,
    gauge,
    audited,
    at: (us: number) => {
      nowUs = us;
    },
    define: (next: definitions.Source) => {
      current = next;
    },
  };
}

const ada = { by: 'ada', reason: 'mended' };
const stands = ({ blocks }: ReturnType<typeof setUp>) => blocks.standing('s').length > 0;

test('only a failure of an expectation that blocks does; what is resumed is not blocked by what came before', async () => {
  const world = setUp(spec(3));
  for (const outcome of ['PASS', 'NO_DATA', 'INSUFFICIENT_DATA'] as const) await world.fail(98e6, outcome);
  expect(stands(world)).toBe(false);
  await world.fail(98e6);
  expect(() => world.blocks.assertOpen('s')).toThrow(/expectation "gate" failed.*0 rows, expected at least 1 rows/);
  expect(() => world.blocks.assertOpen('other')).not.toThrow();
  world.at(200e6);
  expect(await world.blocks.resume('s', 'another', ada)).toEqual([]);
  expect(await world.blocks.resume('s', '', ada)).toHaveLength(1);
  await world.fail(199.5e6);
  expect(stands(world)).toBe(false);
  await world.fail(200e6);
  expect(stands(world)).toBe(true);
  expect(world.audited).toEqual(['block by expectation', 'resume by ada', 'block by expectation']);
  const warns = setUp(spec(1));
  await warns.fail(98e6);
  expect(stands(warns)).toBe(false);
});

test('a block ends by itself when its time is up, also before that is written down', async () => {
  const world = setUp(spec(3, 50_000_000n));
  await world.fail(98e6);
  world.at(149e6);
  await world.blocks.settle();
  expect(stands(world)).toBe(true);
  world.at(150e6);
  expect(stands(world)).toBe(false);
  await world.blocks.settle();
  expect(world.kept.get('gate')?.liftedUs).toBe(150e6);
  expect(world.gauge.at(-1)).toBe(false);
  expect(world.audited).toEqual(['block by expectation', 'resume by resume_after']);
});

test('a definition that does not block any more lifts the block for good', async () => {
  const world = setUp(spec(3));
  await world.fail(98e6);
  world.define(spec(1));
  await world.blocks.settle();
  // another process may have blocked by a definition that comes here later
  expect(stands(world)).toBe(true);
  world.at(105e6);
  await world.blocks.settle();
  world.define(spec(3));
  expect(stands(world)).toBe(false);
});

test('an expectation that changes is held against the interval that failed: it ends the block or stands by its own bound', async () => {
  const world = setUp(spec(3));
  await world.fail(98e6);
  const again = () => world.blocks.redefined({ name: 's', spec: current });
  let current = spec(3);
  expect(again()).toEqual([]);
  current = spec(3, 9_000_000_000n);
  world.define(current);
  const [changed] = again();
  if (changed === undefined) throw new Error('not seen as changed');
  const result = { outcome: 'FAIL', bound: 'at least 0.5', rows: 1, message: 'too few' } as const;
  await world.blocks.reconsider(changed, result);
  expect(world.kept.get('gate')).toMatchObject({ bound: 'at least 0.5', resumesUs: 100e6 + 9_000e6, liftedUs: 0 });
  expect(again()).toEqual([]);
  await world.blocks.reconsider(changed, { ...result, outcome: 'NO_DATA' });
  expect(stands(world)).toBe(true);
  await world.blocks.reconsider(changed, { ...result, outcome: 'PASS' });
  expect(stands(world)).toBe(false);
  expect(world.audited).toEqual(['block by expectation', 'resume by definition']);
});
