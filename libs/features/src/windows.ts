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

/** A window with its hop decided; lifetime has neither. */
export type ResolvedWindow = { readonly sizeUs: number; readonly hopUs: number };

export const lifetimeHopUs = 0;

export function resolveWindow(window: WindowSpec): ResolvedWindow {
  switch (window.t) {
    case 'sliding':
      return { sizeUs: window.sizeUs, hopUs: window.hopUs > 0 ? window.hopUs : defaultHopUs(window.sizeUs) };
    case 'tumbling':
      return { sizeUs: window.sizeUs, hopUs: window.sizeUs };
    case 'lifetime':
      return { sizeUs: 0, hopUs: lifetimeHopUs };
    default:
      return window satisfies never;
  }
}

/** What a rate divides by: the seconds of the window's size, whatever part of a hop its tail still holds. */
export function rateSeconds(window: WindowSpec): number {
  return resolveWindow(window).sizeUs / s;
}

/** Where the window starts as of t; −∞ for lifetime. */
export function windowStart(window: ResolvedWindow, t: number): number {
  return window.hopUs === lifetimeHopUs ? Number.NEGATIVE_INFINITY : floorTo(t - window.sizeUs, window.hopUs);
}

/** What is wrong with a window, with the remedy. */
export function windowProblem(window: WindowSpec): string | undefined {
  if (window.t === 'lifetime') return undefined;
  if (!Number.isSafeInteger(window.sizeUs) || window.sizeUs < s)
    return `a window of ${window.sizeUs} µs is too small; the smallest is 1s`;
  const { hopUs } = resolveWindow(window);
  const given = window.t === 'sliding' ? window.hopUs : hopUs;
  if (!Number.isSafeInteger(given) || given < 0)
    return `a hop of ${given} µs is not a positive whole number; leave it out for the default`;
  if (hopUs > window.sizeUs)
    return `hop ${formatDurationUs(hopUs)} is larger than the window of ${formatDurationUs(window.sizeUs)}`;
  const steps = Math.ceil(window.sizeUs / hopUs);
  if (steps > stepsMax) {
    const fitting =
      hops.find((hop) => window.sizeUs / hop <= stepsMax) ?? Math.ceil(window.sizeUs / stepsMax / day) * day;
    return `a window of ${formatDurationUs(window.sizeUs)} by ${formatDurationUs(hopUs)} has ${steps} steps, over the limit of ${stepsMax}; hop ${formatDurationUs(fitting)} would fit`;
  }
  return undefined;
}
