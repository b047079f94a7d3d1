import { stringify } from 'yaml';
import { type Contract, type Property, parseContract, type Quality, type Schema } from './contract.ts';
import { optionRules } from './options.ts';
import { type Expectations, qualityRule, uniqueWindow } from './quality.ts';

/** Something of the contract that a source definition does not say, or says in another way. */
export type ReportLine = { readonly path: string; readonly what: string };

export type ImportedContract = {
  /** Source definitions, a YAML document each. */
  readonly yaml: string;
  readonly sources: readonly string[];
  readonly notMapped: readonly ReportLine[];
};

type Report = (path: string, what: string) => void;

const types: Readonly<Record<string, string>> = {
  string: 'STRING',
  integer: 'INT64',
  number: 'DOUBLE',
  boolean: 'BOOL',
  timestamp: 'TIMESTAMP',
  date: 'TIMESTAMP',
};

/** What is read of a contract and its parts; everything else is reported. */
const readKeys = {
  contract: 'version apiVersion kind id status name description schema slaProperties',
  schema: 'name physicalName physicalType logicalType description businessName properties quality',
  property:
    'name physicalName physicalType logicalType logicalTypeOptions description businessName required unique primaryKey primaryKeyPosition quality',
} as const;

/** An ODCS v3 data contract as source definitions with expectations, and what of it was not mapped. INVALID_DEFINITION when it is none. */
export function importContract(text: string, file: string): ImportedContract {
  const contract = parseContract(text, file);
  const notMapped: ReportLine[] = [];
  const report: Report = (path, what) => notMapped.push({ path, what });
  unread(contract, 'contract', '', report);
  for (const key of Object.keys(contract.description ?? {}))
    if (key !== 'purpose') report(`description.${key}`, 'is for people; it is not kept');
  const documents = contract.schema.map((schema, at) => sourceOf(contract, schema, `schema.${at}`, report));
  return {
    yaml: documents.map((document) => stringify(document, { lineWidth: 120 })).join('---\n'),
    sources: documents.map(({ name }) => name),
    notMapped,
  };
}

function unread(part: object, kind: keyof typeof readKeys, path: string, report: Report): void {
  const known = new Set(readKeys[kind].split(' '));
  for (const key of Object.keys(part)) if (!known.has(key)) report(path === '' ? key : `${path}.${key}`, 'is not read');
}

function sourceOf(contract: Contract, schema: Schema, path: string, report: Report) {
  unread(schema, 'schema', path, report);
  const fields: Record<string, object> = {};
  const expectations: Expectations = {};
  for (const [at, property] of schema.properties.entries())
    addProperty(property, `${path}.properties.${at} (${property.name})`, fields, expectations, report);
  addPrimaryKey(schema, fields, expectations, path, report);
  for (const [at, rule] of (schema.quality ?? []).entries())
    addQuality(rule, undefined, `${path}.quality.${at}`, expectations, report);
  const eventTime = addFreshness(contract, schema, fields, expectations, report);
  const name =
    schema.name
      .toLowerCase()
      .replaceAll(/[^a-z0-9_-]+/g, '_')
      .replace(/^[^a-z]+/, '') || 'contract';
  if (name !== schema.name) report(`${path}.name`, `"${schema.name}" is no name of a source; it is "${name}" here`);
  const about = schema.description ?? contract.description?.purpose;
  return {
    kind: 'source',
    name,
    ...(about === undefined ? {} : { description: about }),
    tags: { contract: contract.id, contract_version: contract.version, contract_status: contract.status },
    // a contract says what is there, not that there is nothing else
    extra_fields: 'ignore',
    ...(eventTime === undefined ? {} : { event_time: eventTime }),
    fields,
    ...(Object.keys(expectations).length === 0 ? {} : { expectations }),
  };
}

function addProperty(
  property: Property,
  path: string,
  fields: Record<string, object>,
  expectations: Expectations,
  report: Report,
): void {
  unread(property, 'property', path, report);
  const { name, logicalType = 'string', required = false } = property;
  const type = types[logicalType];
  if (!/^[a-z][a-z0-9_]{0,99}$/.test(name)) {
    report(path, `"${name}" is no name of a field (lowercase letters, digits and _); the property is left out`);
    return;
  }
  if (type === undefined) {
    report(path, `logical type "${logicalType}" has no field type; the property is left out`);
    return;
  }
  if (property.logicalType === undefined) report(path, 'has no logical type; taken as string');
  if (logicalType === 'date') report(path, 'a date is a TIMESTAMP here: send it as the start of the day, RFC 3339');
  fields[name] = required || property.primaryKey ? { type } : { type, nullable: true };
  for (const [key, value] of Object.entries(property.logicalTypeOptions ?? {})) {
    const found = optionRules(name, type, key, value);
    if (typeof found === 'string') report(`${path}.logicalTypeOptions.${key}`, found);
    else expectations[`${name}_${key.toLowerCase()}`] = found;
  }
  if (property.unique) addUnique([name], fields, expectations, path, report);
  for (const [at, rule] of (property.quality ?? []).entries())
    addQuality(rule, { name, type }, `${path}.quality.${at}`, expectations, report);
}

function addPrimaryKey(
  { properties }: Schema,
  fields: Record<string, object>,
  expectations: Expectations,
  path: string,
  report: Report,
): void {
  const keys = properties.filter(({ primaryKey }) => primaryKey).map(({ name }) => name);
  if (keys.length === 0) return;
  if (keys.every((name) => name in fields)) addUnique(keys, fields, expectations, `${path} (primary key)`, report);
  else report(`${path} (primary key)`, 'a field of the primary key is left out, so it is not checked');
}

function addUnique(
  names: readonly string[],
  fields: Record<string, object>,
  expectations: Expectations,
  path: string,
  report: Report,
): void {
  const inexact = names.find((name) => (fields[name] as { readonly type?: string }).type === 'DOUBLE');
  if (inexact !== undefined) {
    report(path, `"${inexact}" is a DOUBLE, whose values are not checked for uniqueness`);
    return;
  }
  report(path, `uniqueness is checked among events less than ${uniqueWindow} apart, not for ever`);
  expectations[`${names.join('_')}_unique`] = { unique: { fields: [...names], window: uniqueWindow } };
}

function addQuality(
  rule: Quality,
  field: { readonly name: string; readonly type: string } | undefined,
  path: string,
  expectations: Expectations,
  report: Report,
): void {
  const found = qualityRule(rule, field);
  if (typeof found === 'string') {
    report(path, found);
    return;
  }
  if (found.note !== undefined) report(path, found.note);
  const metric = (rule.metric ?? rule.rule ?? 'rule').replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const given = rule.name ?? `${field === undefined ? '' : `${field.name}_`}${metric}`;
  const base =
    given
      .toLowerCase()
      .replaceAll(/[^a-z0-9_-]+/g, '_')
      .replace(/^[^a-z]+/, '') || 'rule';
  let name = base;
  for (let copy = 2; name in expectations; copy++) name = `${base}_${copy}`;
  expectations[name] = found.expectation;
}

const unitSeconds: Readonly<Record<string, number>> = {
  s: 1,
  second: 1,
  m: 60,
  min: 60,
  minute: 60,
  h: 3_600,
  hour: 3_600,
  d: 86_400,
  day: 86_400,
};

/** The event-time field, when the freshness of this schema names one. */
function addFreshness(
  contract: Contract,
  schema: Schema,
  fields: Record<string, object>,
  expectations: Expectations,
  report: Report,
): string | undefined {
  let eventTime: string | undefined;
  for (const [at, { property, value, unit = '', element }] of (contract.slaProperties ?? []).entries()) {
    const path = `slaProperties.${at} (${property})`;
    const [table, column] = (element ?? '').split('.');
    if (element !== undefined && table !== schema.name) continue;
    const seconds = unitSeconds[unit.toLowerCase().replace(/s$/, '')] ?? unitSeconds[unit.toLowerCase()];
    if (property !== 'freshness') report(path, 'is not checked');
    else if (seconds === undefined || !(Number(value) > 0))
      report(path, `"${value} ${unit}" is no time; write 4 and "h"`);
    else {
      expectations.freshness = { freshness: `${Math.round(Number(value) * seconds)}s` };
      const field =
        column === undefined
          ? undefined
          : (fields[column] as { readonly type?: string; readonly nullable?: true } | undefined);
      if (field?.type === 'TIMESTAMP' && !field.nullable) eventTime = column;
      else if (column !== undefined)
        report(path, `"${column}" is no required TIMESTAMP; the envelope's time is the event time`);
    }
  }
  return eventTime;
}
