import { expect, test } from 'vitest';
import { priorityOf, scheduled, timeoutMsOf } from './schedule-policy.ts';

const policy = { priorityLevels: 2, defaultPriority: 2, defaultTimeoutMs: 10, allowTimeoutOverride: true };

test('without a policy a timeout shortens what the caller has, and never lengthens it', () => {
  expect(scheduled({ timeoutMs: 5, priority: 1 }, undefined, 100)).toEqual({ deadlineMs: 105, priority: 1 });
  expect(scheduled({ timeoutMs: 5, deadlineMs: 103 }, undefined, 100).deadlineMs).toBe(103);
  expect(scheduled({ timeoutMs: 5, deadlineMs: 200 }, undefined, 100).deadlineMs).toBe(105);
  expect(scheduled({}, undefined, 100).deadlineMs).toBeUndefined();
});

test('with a policy its timeout counts, and a shorter one where it allows that', () => {
  expect(scheduled({ timeoutMs: 5 }, policy, 100).deadlineMs).toBe(105);
  expect(scheduled({ timeoutMs: 50 }, policy, 100).deadlineMs).toBe(110);
  expect(scheduled({}, policy, 100).deadlineMs).toBe(110);
  expect(scheduled({ timeoutMs: 5 }, { ...policy, allowTimeoutOverride: false }, 100).deadlineMs).toBe(110);
  expect(scheduled({ timeoutMs: 5 }, { ...policy, defaultTimeoutMs: 0 }, 100).deadlineMs).toBe(105);
  expect(scheduled({ deadlineMs: 104 }, policy, 100).deadlineMs).toBe(104);
});

test('priorities that a policy does not have are its default', () => {
  expect([0, 1, 2, 3, undefined].map((priority) => scheduled({ priority }, policy, 0).priority)).toEqual([
    2, 1, 2, 2, 2,
  ]);
  expect(scheduled({ priority: 1 }, { ...policy, priorityLevels: 0 }, 0).priority).toBeUndefined();
});

test('parameters are whole numbers, or refused by name', () => {
  expect([timeoutMsOf(1500n), timeoutMsOf(0), timeoutMsOf(undefined)]).toEqual([1.5, undefined, undefined]);
  expect(priorityOf(2n)).toBe(2);
  for (const wrong of [-1, 1.5, '5', true]) {
    expect(() => timeoutMsOf(wrong)).toThrow(`parameter "timeout" is "${wrong}"`);
    expect(() => priorityOf(wrong)).toThrow(`parameter "priority" is "${wrong}"`);
  }
});
