import type { FeatureDefinition } from '../types.ts';

/** A value as of a read time from what a row has kept since the start of its step: one subtraction or multiplication. */
export type AtRead = (stored: number, stepUs: number, asOfUs: number) => number;

/** Undefined where a value holds as it is until the next step. */
export function atReadOf(feature: FeatureDefinition): AtRead | undefined {
  switch (feature.function) {
    case 'age':
      return (lastUs, _stepUs, asOfUs) => (asOfUs - lastUs) / 1e6;
    case 'decayed_sum':
    case 'decayed_count': {
      const halfLifeUs = feature.halfLifeUs ?? 0;
      return (value, stepUs, asOfUs) => value * 2 ** ((stepUs - asOfUs) / halfLifeUs);
    }
    default:
      return undefined;
  }
}
