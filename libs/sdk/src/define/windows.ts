import type { definitions } from '@millrace/contracts';
import { parseDurationUs } from '@millrace/kernel';

export type WindowOption = definitions.Window;

interface OffsetOptions {
  /** How far back the window ends, a whole number of hops: `'7d'` is the same window a week ago. Then it holds whole hops only. */
  readonly offset?: string;
}

/**
 * As of t: `[floor(t - size, hop), t)`, or with an offset `[floor(t - offset - size, hop), floor(t - offset, hop))`. Durations as `'1h'`;
 * without a hop the default for the size (and the offset) is used.
 */
export function sliding(size: string, options: OffsetOptions & { readonly hop?: string } = {}): WindowOption {
  const [sizeUs, hopUs, offsetUs] = [size, options.hop, options.offset].map(microseconds) as [bigint, bigint, bigint];
  return { kind: { $case: 'sliding', value: { sizeUs, hopUs, offsetUs } } };
}

/** A sliding window whose hop is its size: `[floor(t - size, size), t)`. */
export function tumbling(size: string, options: OffsetOptions = {}): WindowOption {
  const [sizeUs, offsetUs] = [size, options.offset].map(microseconds) as [bigint, bigint];
  return { kind: { $case: 'tumbling', value: { sizeUs, offsetUs } } };
}

function microseconds(duration: string | undefined): bigint {
  return duration === undefined ? 0n : BigInt(parseDurationUs(duration));
}

/** Everything so far. */
export function lifetime(): WindowOption {
  return { kind: { $case: 'lifetime', value: {} } };
}

/**
 * The events since the last pause longer than the gap: the run of the entity's events, whether a filter lets them count or not, that ends
 * with the last one before t. Empty once that one is longer ago than the gap. Exact while late events do not bridge all gaps of the newest
 * 64 sessions.
 */
export function session(gap: string): WindowOption {
  return { kind: { $case: 'session', value: { gapUs: BigInt(parseDurationUs(gap)) } } };
}
