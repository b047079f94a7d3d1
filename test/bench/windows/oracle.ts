import { type BenchEvent, hops, type WindowName, windowNames, windows } from './world.ts';

/** Stated by libs/features: a percentile is off by at most 1/129 of itself. */
const percentileError = 1 / 129 + 1e-9;
const distinctExactMax = 1_024;
/** HyperLogLog's standard error is 1.6 %; six of them. */
const distinctError = 0.1;

/** Brute force over a key's events: one pass for each window, a sort for each percentile. Shares no code with the mesh. */
export function expectedValues(events: readonly (BenchEvent & { readonly order: number })[], asOfUs: number) {
  const values = new Map<string, number | string | null>();
  for (const name of windowNames) {
    const seen = events.filter(({ timeUs }) => timeUs >= startOf(name, asOfUs) && timeUs < asOfUs);
    const spent = seen.map((event) => event.spent).sort((a, b) => a - b);
    const sum = spent.reduce((a, b) => a + b, 0);
    const last = seen.reduce<(typeof seen)[number] | undefined>(
      (latest, event) =>
        latest === undefined ||
        event.timeUs > latest.timeUs ||
        (event.timeUs === latest.timeUs && event.order > latest.order)
          ? event
          : latest,
      undefined,
    );
    const none = seen.length === 0;
    values.set(`count_${name}`, seen.length);
    values.set(`sum_${name}`, none ? null : sum);
    values.set(`mean_${name}`, none ? null : sum / seen.length);
    values.set(`min_${name}`, spent[0] ?? null);
    values.set(`max_${name}`, spent.at(-1) ?? null);
    values.set(`last_${name}`, last === undefined ? null : `item-${last.item}`);
    values.set(`distinct_${name}`, new Set(seen.map(({ item }) => item)).size);
    values.set(`p95_${name}`, spent[Math.floor(0.95 * (spent.length - 1))] ?? null);
  }
  return values;
}

/** True when a served value is what brute force says, within what the function states. */
export function agrees(feature: string, served: number | string | null, expected: number | string | null): boolean {
  if (served === null || expected === null) return served === expected;
  if (typeof served === 'string' || typeof expected === 'string') return served === expected;
  const off = Math.abs(served - expected);
  const fn = feature.slice(0, feature.indexOf('_'));
  switch (fn) {
    case 'sum':
    case 'mean':
      return off <= 1e-9 * Math.abs(expected);
    case 'p95':
      return off <= percentileError * Math.abs(expected);
    case 'distinct':
      return expected <= distinctExactMax ? off === 0 : off <= distinctError * expected;
    default:
      return off === 0;
  }
}

function startOf(name: WindowName, asOfUs: number): number {
  const hopUs = hops[name] * 1e6;
  return Math.floor((asOfUs - windows[name] * 1e6) / hopUs) * hopUs;
}
