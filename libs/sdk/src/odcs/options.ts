import type { Expectation } from './quality.ts';

const repeatMax = 1_000;

/** A logical type option as an expectation, or why it is none. */
export function optionRules(field: string, type: string, option: string, value: unknown): Expectation | string {
  const number = typeof value === 'number' && Number.isFinite(value) ? value : undefined;
  const isNumber = type === 'INT64' || type === 'DOUBLE';
  const literal = (bound: number) => (type === 'DOUBLE' && Number.isInteger(bound) ? `${bound}.0` : String(bound));
  switch (option) {
    case 'minimum':
    case 'maximum': {
      if (!isNumber || number === undefined) return 'a bound is of numbers, and a number';
      return { range: { field, [option === 'minimum' ? 'min' : 'max']: number } };
    }
    case 'exclusiveMinimum':
    case 'exclusiveMaximum': {
      if (!isNumber || number === undefined) return 'a bound is of numbers, and a number';
      return { condition: `${field} ${option === 'exclusiveMinimum' ? '>' : '<'} ${literal(number)}` };
    }
    case 'pattern':
      if (type !== 'STRING' || typeof value !== 'string') return 'a pattern is of texts';
      return { matches: { field, pattern: value } };
    case 'minLength':
    case 'maxLength': {
      if (type !== 'STRING' || number === undefined || number < 0) return 'a length is of texts, and 0 or more';
      if (number > repeatMax) return `lengths above ${repeatMax} are not checked`;
      return { matches: { field, pattern: `^(?s:.{${option === 'minLength' ? `${number},` : `0,${number}`}})$` } };
    }
    default:
      return 'is not checked';
  }
}
