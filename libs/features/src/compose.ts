import type { AggregationFunction, FeatureDefinition, FeatureValue, WindowSpec } from './types.ts';
import { resolveWindow } from './windows.ts';

/** Functions whose values are made of the values of simpler ones, their operands. */
export type ComposedFunction = 'ratio' | 'zscore' | 'change';
export type SimpleDefinition = FeatureDefinition & {
  readonly function: Exclude<AggregationFunction, ComposedFunction>;
};

/** The value from those of the operands; the same in SQL. */
export interface Composition {
  readonly combine: (values: readonly FeatureValue[]) => FeatureValue;
  readonly sql: (values: readonly string[]) => string;
}

/** Below so much of the mean a deviation is the rounding of values that are all the same. */
const deviationMin = 1e-12;

/** Undefined for what is no composition. */
export function compositionOf({ function: fn }: FeatureDefinition): Composition | undefined {
  switch (fn) {
    case 'ratio':
      return {
        combine: ([a = null, b = null]) => (a === null || b === null ? null : finite(Number(a) / Number(b))),
        sql: ([a = '', b = '']) => finiteSql(`toFloat64(${a}) / toFloat64(${b})`),
      };
    case 'change':
      return {
        combine: ([now = null, then = null]) =>
          now === null || then === null ? null : finite(Number(now) - Number(then)),
        sql: ([now = '', then = '']) => finiteSql(`toFloat64(${now}) - toFloat64(${then})`),
      };
    case 'zscore':
      return {
        combine: ([last = null, mean = null, deviation = null]) => {
          if (last === null || mean === null || deviation === null) return null;
          if (Number(deviation) <= deviationMin * Math.abs(Number(mean))) return null;
          return finite((Number(last) - Number(mean)) / Number(deviation));
        },
        sql: ([last = '', mean = '', deviation = '']) => {
          const score = finiteSql(`(toFloat64(${last}) - ${mean}) / ${deviation}`);
          return `if(${deviation} <= ${deviationMin} * abs(${mean}), NULL, ${score})`;
        },
      };
    default:
      return undefined;
  }
}

/** Division by zero and overflow have no value. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function finiteSql(value: string): string {
  return `if(isFinite(${value}), ${value}, NULL)`;
}

export function isSimple(feature: FeatureDefinition): feature is SimpleDefinition {
  return compositionOf(feature) === undefined;
}

/** What a feature's value is made of: itself, or its operands. */
export function operandsOf(feature: FeatureDefinition): readonly SimpleDefinition[] {
  const operand = (changes: Partial<FeatureDefinition>) => ({ ...feature, ...changes }) as SimpleDefinition;
  switch (feature.function) {
    case 'ratio': {
      const { numerator, denominator } = feature;
      return numerator && denominator ? [operand(numerator), operand(denominator)] : [];
    }
    case 'zscore':
      return (['last', 'mean', 'stddev'] as const).map((fn) => operand({ function: fn }));
    case 'change': {
      const [now, then] = windowsOfChange(feature);
      const fn = feature.of ?? 'count';
      return [operand({ function: fn, window: now }), operand({ function: fn, window: then })];
    }
    default:
      return [feature as SimpleDefinition];
  }
}

/** The window and the one so long before it, by the same hop. */
export function windowsOfChange({
  window,
  offsetUs: backUs = 0,
}: FeatureDefinition): readonly [WindowSpec, WindowSpec] {
  switch (window.t) {
    case 'sliding': {
      const offsetUs = (window.offsetUs ?? 0) + backUs;
      const { hopUs } = resolveWindow({ ...window, offsetUs });
      return [
        { ...window, hopUs },
        { ...window, hopUs, offsetUs },
      ];
    }
    case 'tumbling':
      return [window, { ...window, offsetUs: (window.offsetUs ?? 0) + backUs }];
    default:
      return [window, window];
  }
}
