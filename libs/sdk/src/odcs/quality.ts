import type { Quality } from './contract.ts';

/** An expectation as a YAML definition has it. */
export type Expectation = Readonly<Record<string, unknown>>;
export type Expectations = Record<string, Expectation>;

type Found = { readonly expectation: Expectation; readonly note?: string };
type Field = { readonly name: string; readonly type: string };

export const uniqueWindow = '24h';
const volumeInterval = '24h';

/** A rule of the library as an expectation, or why it is none. */
export function qualityRule(rule: Quality, field: Field | undefined): Found | string {
  const { type = 'library', severity = '' } = rule;
  if (type !== 'library') return `rules of type "${type}" are not run; write it as a condition of the source`;
  const found = libraryRule(rule, field);
  if (typeof found === 'string') return found;
  const overInterval =
    'completeness' in found.expectation || 'distinctness' in found.expectation || 'volume' in found.expectation;
  const warns = /^(info|low|warn|warning|minor)$/i.test(severity) && !overInterval;
  return {
    ...found,
    expectation: {
      ...found.expectation,
      ...(warns ? { severity: 'warn' } : {}),
      ...(rule.description === undefined ? {} : { description: rule.description }),
    },
  };
}

function libraryRule(rule: Quality, field: Field | undefined): Found | string {
  const metric = rule.metric ?? rule.rule ?? '';
  if (metric === 'rowCount') return volume(rule);
  if (metric === 'duplicateValues') return duplicates(rule, field);
  if (field === undefined) return `metric "${metric}" is of a property, not of a schema`;
  switch (metric) {
    case 'nullValues':
      return nulls(rule, field);
    case 'missingValues':
      return missing(rule, field);
    case 'invalidValues':
      return invalid(rule, field);
    default:
      return `metric "${metric}" is not known; known are nullValues, missingValues, invalidValues, duplicateValues, rowCount`;
  }
}

/** The largest share that the rule lets be wrong, 0 when nothing may be; undefined when it says something else. */
function shareAllowed(rule: Quality): number | undefined {
  const scale = rule.unit === 'percent' ? 100 : undefined;
  if (rule.mustBe === 0 || rule.mustBeLessOrEqualTo === 0) return 0;
  if (scale === undefined) return rule.mustBeLessThan === 1 ? 0 : undefined;
  const most = rule.mustBeLessThan ?? rule.mustBeLessOrEqualTo;
  return most === undefined || most <= 0 || most > 100 ? undefined : most / scale;
}

const otherBound = 'its bound is neither none (mustBe: 0) nor a percentage that must not be exceeded (unit: percent)';
const rounded = (rate: number) => Math.round(rate * 1e12) / 1e12;
const atMost = (rule: Quality) =>
  rule.mustBeLessThan === undefined ? {} : { note: 'the bound itself passes here: "less than" is "at most"' };

function nulls(rule: Quality, { name }: Field): Found | string {
  const share = shareAllowed(rule);
  if (share === undefined) return otherBound;
  if (share === 0) return { expectation: { not_null: name } };
  return { expectation: { completeness: { field: name, min_rate: rounded(1 - share) } }, ...atMost(rule) };
}

function missing(rule: Quality, { name, type }: Field): Found | string {
  const tokens = rule.arguments?.missingValues;
  if (shareAllowed(rule) !== 0) return otherBound;
  if (!Array.isArray(tokens) || tokens.length === 0) return { expectation: { not_null: name } };
  const texts = tokens.filter((token): token is string => typeof token === 'string');
  if (type !== 'STRING' || texts.length + tokens.filter((token) => token === null).length < tokens.length)
    return 'the texts that stand for missing are checked of strings only';
  const parts = [
    ...(tokens.includes(null) ? [`${name} != null`] : []),
    ...(texts.length === 0 ? [] : [`!(${name} in [${texts.map((text) => JSON.stringify(text)).join(', ')}])`]),
  ];
  return { expectation: { condition: parts.join(' && ') } };
}

function invalid(rule: Quality, { name, type }: Field): Found | string {
  const { validValues, pattern } = rule.arguments ?? {};
  if (shareAllowed(rule) !== 0) return otherBound;
  if (typeof pattern === 'string' && validValues === undefined)
    return type === 'STRING' ? { expectation: { matches: { field: name, pattern } } } : 'a pattern is of strings';
  if (!Array.isArray(validValues) || validValues.length === 0 || pattern !== undefined)
    return 'give arguments.validValues or arguments.pattern';
  if (type === 'DOUBLE' || type === 'TIMESTAMP')
    return `a set of values is checked of STRING, INT64 and BOOL, not ${type}`;
  return { expectation: { set: { field: name, values: validValues } } };
}

function duplicates(rule: Quality, field: Field | undefined): Found | string {
  const given = rule.arguments?.properties;
  const names = Array.isArray(given) ? given.map(String) : field ? [field.name] : [];
  const share = shareAllowed(rule);
  if (names.length === 0) return 'names no properties (arguments.properties)';
  if (share === undefined) return otherBound;
  if (field?.type === 'DOUBLE' && share === 0) return 'the values of a DOUBLE are not checked for uniqueness';
  if (share === 0)
    return {
      expectation: { unique: { fields: names, window: uniqueWindow } },
      note: `uniqueness is checked among events less than ${uniqueWindow} apart, not for ever`,
    };
  if (names.length > 1) return 'a share of duplicates is checked of one property';
  return { expectation: { distinctness: { field: names[0], min_rate: rounded(1 - share) } }, ...atMost(rule) };
}

function volume(rule: Quality): Found | string {
  if (rule.unit === 'percent') return 'a number of rows is no percentage';
  if (rule.mustNotBe !== undefined || rule.mustNotBeBetween) return 'what a number of rows must not be is not checked';
  const [low, high] = rule.mustBeBetween ?? (typeof rule.mustBe === 'number' ? [rule.mustBe, rule.mustBe] : []);
  const least =
    low ??
    rule.mustBeGreaterOrEqualTo ??
    (rule.mustBeGreaterThan === undefined ? undefined : Math.floor(rule.mustBeGreaterThan) + 1);
  const most =
    high ??
    rule.mustBeLessOrEqualTo ??
    (rule.mustBeLessThan === undefined ? undefined : Math.ceil(rule.mustBeLessThan) - 1);
  if (least === undefined && most === undefined) return 'has no bound';
  return {
    expectation: {
      volume: {
        ...(least === undefined ? {} : { min_rows: least }),
        ...(most === undefined ? {} : { max_rows: most }),
      },
      interval: volumeInterval,
    },
    note: `rows are counted by ${volumeInterval}${rule.schedule === undefined ? '' : `, not on the schedule ${rule.schedule}`}`,
  };
}
