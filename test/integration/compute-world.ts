export const source = 'arrivals';
export const secondUs = 1e6;
export const hourUs = 3_600e6;
/** A time of the past on a whole hour, so that nothing is a future event. */
export const originUs = Date.UTC(2001, 0, 2) * 1000;

export type TestEvent = { readonly code: string; readonly atUs: number; readonly delay: number | null };

/** Unordered events at distinct times with a few nulls; the same for the same seed. */
export function randomEvents(options: {
  readonly events: number;
  readonly codes: number;
  readonly fromUs: number;
  readonly spanUs: number;
  readonly seed: number;
}): TestEvent[] {
  let state = (options.seed * 2_654_435_761 + 12_345) >>> 0;
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  return Array.from({ length: options.events }, () => ({
    code: `C${Math.floor(random() * options.codes)}`,
    atUs: options.fromUs + Math.floor(random() * options.spanUs),
    delay: random() < 0.1 ? null : Math.round(random() * 1_000 - 200) / 8,
  }));
}
