import { type definitions, expectations } from '@millrace/contracts';
import { compileFilter, type FieldType, isVectorType, type SchemaType, type SourceField } from '@millrace/features';
import { RE2JS } from 're2js';
import { type Check, isRowCheck, scopeOf } from './severity.ts';

export type SourceProblem = { readonly path: string; readonly problem: string };

const expectationsMax = 256;
const valuesMax = 10_000;
const patternMax = 1_000;
const batchRowsMax = 10_000;
const uniqueWindowMaxUs = 31 * 86_400e6;
const numbers: ReadonlySet<string> = new Set(['INT64', 'DOUBLE']);
const ordered: ReadonlySet<string> = new Set(['INT64', 'DOUBLE', 'TIMESTAMP']);
const exact: ReadonlySet<string> = new Set(['BOOL', 'INT64', 'STRING']);
const texts: ReadonlySet<string> = new Set(['STRING']);
const keys: ReadonlySet<string> = new Set(['BOOL', 'INT64', 'STRING', 'TIMESTAMP']);
const single: ReadonlySet<string> = new Set(['BOOL', 'INT64', 'DOUBLE', 'STRING', 'TIMESTAMP']);

/** Everything that is wrong with a source's expectations, each with its path and what to do. */
export function expectationProblems(
  source: Pick<definitions.Source, 'expectations'>,
  fields: readonly SourceField[],
): SourceProblem[] {
  const found: SourceProblem[] = [];
  const { expectations: all } = source;
  if (all.length > expectationsMax)
    found.push({
      path: 'expectations',
      problem: `${all.length} expectations are over the limit of ${expectationsMax}`,
    });
  const byName = new Map(fields.map((field) => [field.name, field]));
  const seen = new Set<string>();
  for (const expectation of all) {
    const path = `expectations.${expectation.name}`;
    const report = (problem: string) => found.push({ path, problem });
    if (!/^[a-z][a-z0-9_-]{0,99}$/.test(expectation.name))
      report(`"${expectation.name}" is not a name; use lowercase letters, digits, _ and -, a letter first`);
    if (seen.has(expectation.name)) report(`two expectations are named "${expectation.name}"`);
    seen.add(expectation.name);
    checkExpectation(expectation, byName, report);
  }
  return found;
}

type Report = (problem: string) => void;
type Fields = ReadonlyMap<string, SourceField>;

function checkExpectation(expectation: expectations.Expectation, fields: Fields, report: Report): void {
  const { check, severity, intervalUs } = expectation;
  if (check === undefined) {
    report('has no check; use one of not_null, in_range, in_set, matches, unique, condition, completeness, …');
    return;
  }
  if (scopeOf(expectation) === 'interval' && severity === expectations.Severity.QUARANTINE)
    report(
      'looks at events that were accepted already, which cannot be set aside any more: look at each batch before it is accepted (per_batch), or set severity to warn (the default) or block',
    );
  if (check.$case === 'freshness' && severity === expectations.Severity.BLOCK)
    report(
      'cannot block: it would keep out the very events that make the source fresh again; set severity to warn (the default), and hold back what is stale where it is used: max_age of a feature',
    );
  checkPerBatch(expectation, report);
  checkResumption(expectation, report);
  if (intervalUs !== 0n && (intervalUs < 1_000_000n || intervalUs > 31n * 86_400_000_000n))
    report(`an interval of ${intervalUs} µs is not between 1 s and 31 d`);
  checkOf(check, fields, report);
}

function checkPerBatch({ check, perBatch }: expectations.Expectation, report: Report): void {
  if (perBatch === undefined || check === undefined) return;
  const { minRows } = perBatch;
  if (isRowCheck(check)) report('looks at each event already; leave per_batch out');
  else if (check.$case === 'freshness')
    report('freshness is of a source over time, not of a batch; leave per_batch out');
  else if (check.$case === 'volume' && (check.value.minRatio !== undefined || check.value.maxRatio !== undefined))
    report(
      'compares intervals with each other, which batches are not; give min_rows or max_rows, or leave per_batch out',
    );
  if (minRows !== undefined && (minRows < 1 || minRows > batchRowsMax))
    report(`per_batch: a min_rows of ${minRows} is not between 1 and ${batchRowsMax}, the most events of a batch`);
}

function checkResumption(expectation: expectations.Expectation, report: Report): void {
  const { severity, resumeAfterUs } = expectation;
  if (resumeAfterUs === undefined) return;
  if (scopeOf(expectation) !== 'interval' || severity !== expectations.Severity.BLOCK)
    report('only a check of an interval of a source with severity block is resumed; leave resume_after out');
  else if (resumeAfterUs < 1_000_000n || resumeAfterUs > 31n * 86_400_000_000n)
    report(`a resume_after of ${resumeAfterUs} µs is not between 1 s and 31 d`);
}

function checkOf(check: Check, fields: Fields, report: Report): void {
  const field = (name: string, allowed?: ReadonlySet<string>) => checkField(name, fields, allowed, report);
  switch (check.$case) {
    case 'notNull':
      field(check.value.field);
      break;
    case 'inRange':
      field(check.value.field, ordered);
      checkBounds(check.value.min, check.value.max, report);
      break;
    case 'inSet':
      field(check.value.field, exact);
      checkCount(check.value.values.length, 1, valuesMax, 'values', report);
      break;
    case 'matches':
      field(check.value.field, texts);
      checkPattern(check.value.pattern, report);
      break;
    case 'unique':
      checkCount(check.value.fields.length, 1, 8, 'fields', report);
      for (const name of check.value.fields) field(name, keys);
      if (check.value.windowUs <= 0n || check.value.windowUs > uniqueWindowMaxUs)
        report(`a window of ${check.value.windowUs} µs is not above 0 and at most 31 d; give the window of the check`);
      break;
    case 'condition':
      checkCel(check.value.cel, fields, report);
      break;
    case 'completeness':
    case 'distinctness':
      field(check.value.field, single);
      if (!(check.value.minRate >= 0 && check.value.minRate <= 1))
        report(`min_rate ${check.value.minRate} is not a share; write 0 to 1`);
      break;
    case 'volume':
      checkVolume(check.value, report);
      break;
    case 'freshness':
      if (check.value.maxAgeUs <= 0n) report('has no max_age; give the largest age of the newest event');
      break;
    case 'distribution':
      checkDistribution(check.value, fields, report);
      break;
    case 'quantile':
      field(check.value.field, numbers);
      checkBounds(check.value.min, check.value.max, report);
      if (!(check.value.q >= 0 && check.value.q <= 1)) report(`q ${check.value.q} is not a share; write 0 to 1`);
      break;
    default:
      check satisfies never;
  }
}

function checkField(
  name: string,
  fields: Fields,
  allowed: ReadonlySet<string> | undefined,
  report: Report,
): SourceField | undefined {
  const field = fields.get(name);
  if (!field) report(`there is no field "${name}"; fields: ${[...fields.keys()].join(', ')}`);
  else if (allowed && !allowed.has(field.type))
    report(`field "${name}" is ${field.type}; the check takes ${[...allowed].join(', ')}`);
  return field;
}

function checkBounds(min: number | undefined, max: number | undefined, report: Report): void {
  if (min === undefined && max === undefined) report('has no bound; give min, max or both');
  if (Number.isNaN(min ?? 0) || Number.isNaN(max ?? 0)) report('a bound is not a number');
  if (min !== undefined && max !== undefined && min > max) report(`min ${min} is above max ${max}`);
}

function checkCount(count: number, least: number, most: number, what: string, report: Report): void {
  if (count < least || count > most) report(`${count} ${what}; give ${least} to ${most}`);
}

function checkPattern(pattern: string, report: Report): void {
  if (pattern === '' || pattern.length > patternMax) {
    report(`a pattern of ${pattern.length} characters; give 1 to ${patternMax}`);
    return;
  }
  try {
    RE2JS.compile(pattern);
  } catch (cause) {
    report(`pattern ${JSON.stringify(pattern)} is not RE2 syntax: ${(cause as Error).message}`);
  }
}

function checkCel(cel: string, fields: Fields, report: Report): void {
  try {
    compileFilter(cel, [...fields.values()]);
  } catch (cause) {
    report((cause as Error).message.replace(/^filter /, 'condition '));
  }
}

function checkVolume({ minRows, maxRows, minRatio, maxRatio }: expectations.Volume, report: Report): void {
  if ([minRows, maxRows, minRatio, maxRatio].every((bound) => bound === undefined))
    report('has no bound; give min_rows, max_rows, min_ratio or max_ratio');
  if (minRows !== undefined && maxRows !== undefined && minRows > maxRows)
    report(`min_rows ${minRows} is above max_rows ${maxRows}`);
  for (const bound of [minRatio, maxRatio])
    if (bound !== undefined && !(bound >= 0)) report(`a ratio of ${bound} is not 0 or more`);
}

function checkDistribution(check: expectations.Distribution, fields: Fields, report: Report): void {
  const { edges, categories, counts, values, alpha } = check;
  if (!(alpha >= 0 && alpha < 0.5)) report(`alpha ${alpha} is not between 0 and 0.5`);
  if (check.metric === expectations.DistributionMetric.KS) {
    checkField(check.field, fields, numbers, report);
    checkCount(values.length, 20, valuesMax, 'reference values', report);
    if (values.some((value) => !Number.isFinite(value))) report('a reference value is not finite');
    return;
  }
  if (edges.length > 0 === categories.length > 0) {
    report('gives edges and categories both or neither; give edges for numbers, categories for texts');
    return;
  }
  checkField(check.field, fields, edges.length > 0 ? numbers : exact, report);
  if (edges.length > 0) checkCount(edges.length, 1, 100, 'edges', report);
  else checkCount(categories.length, 2, 100, 'categories', report);
  if (edges.some((edge, at) => !Number.isFinite(edge) || (at > 0 && edge <= (edges[at - 1] ?? 0))))
    report('the edges do not increase');
  const bins = Math.max(edges.length, categories.length) + 1;
  if (counts.length !== bins) report(`${counts.length} counts for ${bins} bins; give one count a bin`);
  if (counts.some((count) => !(count >= 0)) || !counts.some((count) => count > 0))
    report('the counts are not 0 or more with one above 0');
}

/** Everything that is wrong with what stands in for values and treats outliers. */
export function treatmentProblems(source: definitions.Source, fields: readonly SourceField[]): SourceProblem[] {
  const found: SourceProblem[] = [];
  for (const [at, field] of source.fields.entries()) {
    const type = fields[at]?.type ?? 'STRING';
    const report = (problem: string) => found.push({ path: `fields.${field.name}`, problem });
    const { MissingAction } = expectations;
    const isEventTime = field.name === source.eventTimeField;
    if (isEventTime && (field.defaultValue || field.missing !== MissingAction.UNSPECIFIED || field.outliers))
      report('is the event time, which has no default, no missing-value policy and no outlier treatment');
    checkDefault(field, type, report);
    if (field.missing === MissingAction.DEFAULT && !field.defaultValue)
      report('takes its default when missing, and has none; set default');
    const fitted = field.missing === MissingAction.MEAN || field.missing === MissingAction.MEDIAN;
    if (fitted && !numbers.has(type)) report(`only INT64 and DOUBLE have a mean and a median, not ${type}`);
    if (field.missing === MissingAction.FORWARD && isVectorType(type))
      report('is a vector, which no earlier one stands in for; take last over a window instead');
    if (field.missing === MissingAction.FORWARD && (source.keyField === '' || source.keyField === field.name))
      report('takes the latest value of the same key when missing: name another field as the key of the source');
    if (field.outliers) checkOutliers(field.outliers, type, report);
  }
  return found;
}

const valueCases: Readonly<Record<FieldType, string>> = {
  BOOL: 'boolValue',
  INT64: 'int64Value',
  DOUBLE: 'doubleValue',
  STRING: 'stringValue',
  TIMESTAMP: 'int64Value',
};

function checkDefault(field: definitions.SourceField, type: SchemaType, report: Report): void {
  const kind = field.defaultValue?.kind;
  if (field.defaultValue === undefined) return;
  if (isVectorType(type)) {
    report('is a vector, which has no default; make it nullable');
    return;
  }
  if (kind === undefined) {
    report('its default is null; leave the default out and make the field nullable');
    return;
  }
  if (kind.$case !== valueCases[type]) {
    report(`its default is a ${kind.$case.replace('Value', '')}, and the field is ${type}`);
    return;
  }
  const { value } = kind;
  if (typeof value === 'number' && !Number.isFinite(value)) report('its default is not finite');
  if (typeof value === 'number' || typeof value === 'bigint') {
    if (value < (field.min ?? Number.NEGATIVE_INFINITY) || value > (field.max ?? Number.POSITIVE_INFINITY))
      report(`its default ${value} is out of its range`);
  }
  if (typeof value === 'string' && field.enumValues.length > 0 && !field.enumValues.includes(value))
    report(`its default "${value}" is not one of its allowed values`);
}

function checkOutliers(outliers: expectations.OutlierTreatment, type: SchemaType, report: Report): void {
  const { action, min, max, zScore, iqr } = outliers;
  if (!numbers.has(type)) report(`only INT64 and DOUBLE have outliers, not ${type}`);
  if (action === expectations.OutlierAction.UNSPECIFIED) report('outliers have no action; use flag, clip or null');
  const given = min !== undefined || max !== undefined;
  if (Number(given) + Number(zScore !== undefined) + Number(iqr !== undefined) !== 1)
    report('outliers have one kind of bounds: min and max, or z_score, or iqr');
  if (min !== undefined && max !== undefined && min > max) report(`outliers: min ${min} is above max ${max}`);
  for (const width of [zScore, iqr])
    if (width !== undefined && !(width > 0)) report(`outliers: ${width} is not above 0`);
}
