import type { FeatureDefinition, Scalar, ViewDefinition } from '@millrace/features';
import { defaultHopUs, rateSeconds } from '@millrace/features';

/** The few facts of an event that the oracle needs. */
export type OracleEvent = { readonly code: string; readonly atUs: number; readonly delay: number | null };

/** The values of a view by brute force over all events: what a window means, with nothing of how it is kept. */
export function oracle(
  view: ViewDefinition,
  events: readonly OracleEvent[],
  code: string,
  asOfUs: number,
): readonly Scalar[] {
  return view.features.map((feature) => {
    const [startUs, endUs] = windowUs(feature, asOfUs);
    const seen = events.filter((event) => event.code === code && event.atUs >= startUs && event.atUs < endUs);
    return aggregate(feature, seen);
  });
}

function windowUs({ window }: FeatureDefinition, asOfUs: number): [startUs: number, endUs: number] {
  if (window.t === 'session') throw new Error('this oracle does not know sessions');
  if (window.t === 'lifetime') return [Number.NEGATIVE_INFINITY, asOfUs];
  const hopUs = window.t === 'tumbling' ? window.sizeUs : window.hopUs || defaultHopUs(window.sizeUs);
  const pastUs = asOfUs - (window.offsetUs ?? 0);
  const floor = (t: number) => Math.floor(t / hopUs) * hopUs;
  return [floor(pastUs - window.sizeUs), window.offsetUs ? floor(pastUs) : asOfUs];
}

function aggregate(feature: FeatureDefinition, events: readonly OracleEvent[]): Scalar {
  if (feature.field === '')
    return feature.function === 'rate' ? events.length / rateSeconds(feature.window) : events.length;
  const values = events.flatMap(({ delay }) => (delay === null ? [] : [delay]));
  const sum = values.reduce((total, value) => total + value, 0);
  const newest = events.filter(({ delay }) => delay !== null).sort((a, b) => a.atUs - b.atUs);
  switch (feature.function) {
    case 'count':
      return values.length;
    case 'sum':
      return values.length === 0 ? null : sum;
    case 'mean':
      return values.length === 0 ? null : sum / values.length;
    case 'rate':
      return sum / rateSeconds(feature.window);
    case 'min':
      return values.length === 0 ? null : Math.min(...values);
    case 'max':
      return values.length === 0 ? null : Math.max(...values);
    case 'variance':
    case 'stddev': {
      if (values.length <= feature.ddof) return null;
      const mean = sum / values.length;
      const variance = values.reduce((total, value) => total + (value - mean) ** 2, 0) / (values.length - feature.ddof);
      return feature.function === 'variance' ? variance : Math.sqrt(variance);
    }
    case 'first':
      return newest.at(0)?.delay ?? null;
    case 'last':
      return newest.at(-1)?.delay ?? null;
    case 'distinct':
      return new Set(values).size;
    case 'percentile':
      return values.toSorted((x, y) => x - y)[Math.floor((feature.quantile ?? 0.5) * (values.length - 1))] ?? null;
    case 'entropy': {
      if (values.length === 0) return null;
      const shares = [...Map.groupBy(values, (value) => value).values()].map(({ length }) => length / values.length);
      return shares.reduce((total, share) => total - share * Math.log2(share), 0);
    }
    default:
      throw new Error(`this oracle does not know "${feature.function}"`);
  }
}

/** True when both are equal, floats to 1e-9 of the larger (or of 1, where values cancel). */
export function close(left: readonly unknown[] | undefined, right: readonly Scalar[]): boolean {
  return (
    left !== undefined &&
    left.length === right.length &&
    left.every((value, at) => {
      const other = right[at] ?? null;
      if (value === null || other === null) return value === other;
      return (
        Math.abs(Number(value) - Number(other)) <= 1e-9 * Math.max(1, Math.abs(Number(value)), Math.abs(Number(other)))
      );
    })
  );
}
