import type { definitions } from '@millrace/contracts';
import { parseDurationUs } from '@millrace/kernel';

export type WindowOption = definitions.Window;

/** As of t: `[floor(t - size, hop), t)`. Durations as `'1h'`; without a hop the default for the size is used. */
export function sliding(size: string, options: { readonly hop?: string } = {}): WindowOption {
  const hopUs = options.hop === undefined ? 0n : BigInt(parseDurationUs(options.hop));
  return { kind: { $case: 'sliding', value: { sizeUs: BigInt(parseDurationUs(size)), hopUs } } };
}

/** As of t: `[floor(t - size, size), t)`. */
export function tumbling(size: string): WindowOption {
  return { kind: { $case: 'tumbling', value: { sizeUs: BigInt(parseDurationUs(size)) } } };
}

/** Everything so far. */
export function lifetime(): WindowOption {
  return { kind: { $case: 'lifetime', value: {} } };
}
