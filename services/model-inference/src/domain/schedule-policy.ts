import { MeshError } from '@millrace/kernel';

/** What a request asks of the scheduler. */
export interface ScheduleAsk {
  /** Epoch milliseconds: the caller's own deadline. */
  readonly deadlineMs?: number | undefined;
  /** Parameter `timeout`: how long the caller would wait. */
  readonly timeoutMs?: number | undefined;
  /** Parameter `priority`; 1 is the most urgent, 0 is none. */
  readonly priority?: number | undefined;
}

/** How a configured model treats what requests ask, as Triton's queue policies do. */
export interface SchedulePolicy {
  /** 0: requests are all of one priority. */
  readonly priorityLevels: number;
  readonly defaultPriority: number;
  /** 0: requests wait as long as their callers do. */
  readonly defaultTimeoutMs: number;
  readonly allowTimeoutOverride: boolean;
}

/**
 * The deadline and the priority that count. A timeout only ever shortens: the caller's deadline without a policy; with one, the policy's timeout,
 * and only where it allows that. A priority that a policy does not have is its default one.
 */
export function scheduled(ask: ScheduleAsk, policy: SchedulePolicy | undefined, nowMs: number) {
  const timeoutMs = policy ? policyTimeoutMs(ask, policy) : ask.timeoutMs;
  const untilMs = timeoutMs === undefined ? undefined : nowMs + timeoutMs;
  const deadlineMs =
    ask.deadlineMs === undefined || untilMs === undefined
      ? (untilMs ?? ask.deadlineMs)
      : Math.min(ask.deadlineMs, untilMs);
  return { deadlineMs, priority: policy ? policyPriority(ask, policy) : ask.priority };
}

function policyTimeoutMs({ timeoutMs }: ScheduleAsk, policy: SchedulePolicy): number | undefined {
  const own = policy.defaultTimeoutMs === 0 ? undefined : policy.defaultTimeoutMs;
  if (!policy.allowTimeoutOverride || timeoutMs === undefined) return own;
  return own === undefined ? timeoutMs : Math.min(own, timeoutMs);
}

function policyPriority(
  { priority = 0 }: ScheduleAsk,
  { priorityLevels, defaultPriority }: SchedulePolicy,
): number | undefined {
  if (priorityLevels === 0) return undefined;
  return priority === 0 || priority > priorityLevels ? defaultPriority : priority;
}

/** A request's parameter `timeout`, whole microseconds; 0 and none are none. INVALID_ARGUMENT for anything else. */
export function timeoutMsOf(given: unknown): number | undefined {
  if (given === undefined || given === null) return undefined;
  const us = wholeOf(given);
  if (us !== undefined) return us === 0 ? undefined : us / 1000;
  throw new MeshError(
    'INVALID_ARGUMENT',
    `parameter "timeout" is "${given}"; it takes whole microseconds, 0 for none`,
    {
      parameter: 'timeout',
      given: String(given),
    },
  );
}

/** A request's parameter `priority`; INVALID_ARGUMENT for what is no whole number from 0. */
export function priorityOf(given: unknown): number | undefined {
  if (given === undefined || given === null) return undefined;
  const priority = wholeOf(given);
  if (priority !== undefined) return priority;
  throw new MeshError(
    'INVALID_ARGUMENT',
    `parameter "priority" is "${given}"; it takes a whole number: 1 is the most urgent, 0 is none`,
    { parameter: 'priority', given: String(given) },
  );
}

function wholeOf(given: unknown): number | undefined {
  if (typeof given !== 'number' && typeof given !== 'bigint') return undefined;
  const number = Number(given);
  return Number.isInteger(number) && number >= 0 ? number : undefined;
}
