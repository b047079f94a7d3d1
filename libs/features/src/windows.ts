import { formatDurationUs } from '@millrace/kernel';
import type { WindowSpec } from './types.ts';

const s = 1e6;
const day = 24 * 3600 * s;
const hops = [s, 5 * s, 30 * s, 60 * s, 300 * s, 900 * s, 3600 * s, 6 * 3600 * s, day];

/** Steps that a window's timeline may have at most. */
export const stepsMax = 64;

/** The largest multiple of `hop` that is not above t. */
export function floorTo(t: number, hop: number): number {
  return Math.floor(t / hop) * hop;
}

/** The largest of 1 s, 5 s, 30 s, 1 min, 5 min, 15 min, 1 h, 6 h and 1 day that is at most a twelfth of the size; at least 1 s. */
export function defaultHopUs(sizeUs: number): number {
  return hops.findLast((hop) => hop <= sizeUs / 12) ?? s;
}

/** A window with its hop decided; lifetime has neither, and a session only its gap. */
export type ResolvedWindow = {
  readonly sizeUs: number;
  readonly hopUs: number;
  readonly offsetUs: number;
  /** 0 where there are no sessions. */
  readonly gapUs: number;
};

export const lifetimeHopUs = 0;

export function resolveWindow(window: WindowSpec): ResolvedWindow {
  switch (window.t) {
    case 'sliding': {
      const { sizeUs, hopUs, offsetUs = 0 } = window;
      return { sizeUs, hopUs: hopUs > 0 ? hopUs : offsetHopUs(sizeUs, offsetUs), offsetUs, gapUs: 0 };
    }
    case 'tumbling':
      return { sizeUs: window.sizeUs, hopUs: window.sizeUs, offsetUs: window.offsetUs ?? 0, gapUs: 0 };
    case 'lifetime':
      return { sizeUs: 0, hopUs: lifetimeHopUs, offsetUs: 0, gapUs: 0 };
    case 'session':
      return { sizeUs: 0, hopUs: lifetimeHopUs, offsetUs: 0, gapUs: window.gapUs };
    default:
      return window satisfies never;
  }
}

/** What a rate divides by: the seconds of the window's size, whatever part of a hop its tail still holds. */
export function rateSeconds(window: WindowSpec): number {
  return resolveWindow(window).sizeUs / s;
}

/** The default hop for the size, or the smallest standard one with which the buckets back to the window's start stay within the limit. */
function offsetHopUs(sizeUs: number, offsetUs: number): number {
  const usual = defaultHopUs(sizeUs);
  if (offsetUs === 0) return usual;
  return hops.find((hop) => hop >= usual && (sizeUs + offsetUs) / hop <= stepsMax) ?? day;
}

/** The longest time before a read at which an event may still count; ∞ for lifetime and sessions. */
export function windowReachUs(window: WindowSpec): number {
  const { sizeUs, hopUs, offsetUs } = resolveWindow(window);
  return hopUs === lifetimeHopUs ? Number.POSITIVE_INFINITY : offsetUs + sizeUs + hopUs;
}

/** What makes two windows the same. */
export function windowKey({ sizeUs, hopUs, offsetUs, gapUs }: ResolvedWindow): string {
  return `${sizeUs}/${hopUs}/${offsetUs}/${gapUs}`;
}

/** Where the window starts as of t; −∞ for lifetime. */
export function windowStart(window: ResolvedWindow, t: number): number {
  if (window.hopUs === lifetimeHopUs) return Number.NEGATIVE_INFINITY;
  return floorTo(t - window.offsetUs - window.sizeUs, window.hopUs);
}

/** Where the window ends as of t: with an offset at the start of a hop; without one ∞, what counts is then `event time < t`. */
export function windowEnd(window: ResolvedWindow, t: number): number {
  return window.offsetUs === 0 ? Number.POSITIVE_INFINITY : floorTo(t - window.offsetUs, window.hopUs);
}

/** What is wrong with a window, with the remedy. */
export function windowProblem(window: WindowSpec): string | undefined {
  if (window.t === 'lifetime') return undefined;
  if (window.t === 'session')
    return Number.isSafeInteger(window.gapUs) && window.gapUs >= s
      ? undefined
      : `a session's gap of ${window.gapUs} µs is too small; the smallest is 1s`;
  if (!Number.isSafeInteger(window.sizeUs) || window.sizeUs < s)
    return `a window of ${window.sizeUs} µs is too small; the smallest is 1s`;
  const { hopUs } = resolveWindow(window);
  const given = window.t === 'sliding' ? window.hopUs : hopUs;
  if (!Number.isSafeInteger(given) || given < 0)
    return `a hop of ${given} µs is not a positive whole number; leave it out for the default`;
  if (hopUs > window.sizeUs && given === 0)
    return `a window of ${formatDurationUs(window.sizeUs)} cannot lie so far back: within ${stepsMax} hops its hop would be ${formatDurationUs(hopUs)}; use a window of that size or a smaller offset`;
  if (hopUs > window.sizeUs)
    return `hop ${formatDurationUs(hopUs)} is larger than the window of ${formatDurationUs(window.sizeUs)}`;
  const { offsetUs } = resolveWindow(window);
  if (!Number.isSafeInteger(offsetUs) || offsetUs < 0 || offsetUs % hopUs !== 0)
    return `an offset of ${offsetUs} µs is not a whole number of hops of ${formatDurationUs(hopUs)}; move it or set the hop`;
  const reachUs = window.sizeUs + offsetUs;
  const steps = Math.ceil(reachUs / hopUs);
  if (steps > stepsMax) {
    const fitting = hops.find((hop) => reachUs / hop <= stepsMax) ?? Math.ceil(reachUs / stepsMax / day) * day;
    return `a window of ${formatDurationUs(window.sizeUs)}${offsetUs > 0 ? ` at an offset of ${formatDurationUs(offsetUs)}` : ''} by ${formatDurationUs(hopUs)} has ${steps} steps, over the limit of ${stepsMax}; hop ${formatDurationUs(fitting)} would fit`;
  }
  return undefined;
}
