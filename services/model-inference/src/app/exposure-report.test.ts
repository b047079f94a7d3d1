import { definitions } from '@millrace/contracts';
import { expect, test } from 'vitest';
import { type ArmUnits, groupsOf } from './exposure-report.ts';

const target = (model: string, weight: number, modelVersion = '1') => ({ model, modelVersion, weight });
const spec = definitions.Deployment.fromPartial({
  targets: [target('a', 3), target('b', 1)],
  rules: [{ name: 'beta', when: 'true', targets: [target('b', 1)] }],
});
const row = (model: string, units: number, more: Partial<ArmUnits> = {}): ArmUnits => ({
  rule: '',
  rollout: '',
  model,
  modelVersion: model === '' ? '' : '1',
  units,
  firstUs: '1',
  lastUs: '2',
  ...more,
});

test('units that split as the weights say are no news, others are', () => {
  const [fair] = groupsOf(spec, [row('a', 760), row('b', 240)]);
  expect(fair?.sampleRatioP).toBe(1);
  expect(fair?.arms.map(({ expectedShare }) => expectedShare)).toEqual([0.75, 0.25]);
  expect(groupsOf(spec, [row('a', 860), row('b', 140)])[0]?.sampleRatioP).toBeLessThan(1e-6);
});

test('a target that no unit came to, and a version that has no share, are found', () => {
  expect(groupsOf(spec, [row('a', 100)])[0]?.sampleRatioP).toBeLessThan(1e-4);
  expect(groupsOf(spec, [row('a', 75), row('b', 25), row('c', 1)])[0]?.sampleRatioP).toBe(0);
});

test('units that moved are of no arm; rules and rollouts are groups of their own', () => {
  const rows = [
    row('', 4),
    row('a', 3),
    row('b', 1),
    row('b', 9, { rule: 'beta' }),
    row('a', 5, { rollout: 'r1' }),
    row('c', 5, { rollout: 'r1' }),
  ];
  const groups = groupsOf(spec, rows);
  expect(groups.map(({ rule, rollout, movedUnits }) => [rule, rollout, movedUnits])).toEqual([
    ['', '', 4],
    ['beta', '', 0],
    ['', 'r1', 0],
  ]);
  expect(groups[1]).toMatchObject({ sampleRatioP: 1, arms: [{ model: 'b', expectedShare: 1 }] });
  // a rollout's shares grow
  expect(groups[2]).toMatchObject({ sampleRatioP: 1, arms: [{ expectedShare: 0 }, { expectedShare: 0 }] });
});
