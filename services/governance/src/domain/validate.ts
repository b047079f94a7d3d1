import { definitions } from '@millrace/contracts';
import { checkableFeatures, checkView, dimensionMax, type ViewDefinition, vectorType } from '@millrace/features';
import { payloadProblems } from '@millrace/payloads';
import { fieldTypeOf, functionOf, resolveView, sourceFieldsOf } from '@millrace/registry';
import {
  batchProblems,
  changeProblems,
  expectationProblems,
  featureExpectationProblems,
  treatmentProblems,
} from '@millrace/sources';
import { type Catalog, known } from './catalog.ts';
import { labelOf, type Problem, type Report } from './problem.ts';
import { cycleProblems } from './reference-cycles.ts';
import { validateDeployment, validateModel, validateService } from './validate-consumers.ts';

const namePattern = /^[a-z][a-z0-9_-]{0,99}$/;
const fieldPattern = /^[a-z][a-z0-9_]{0,99}$/;
const keyTypes: ReadonlySet<string> = new Set(['STRING', 'INT64', 'BOOL']);
const rangeTypes: ReadonlySet<string> = new Set(['INT64', 'DOUBLE', 'TIMESTAMP']);

/** Everything that is wrong with a set of definitions, each problem naming file, definition and field. */
export function validate(set: readonly definitions.Definition[], catalog: Catalog): Problem[] {
  const problems: Problem[] = [];
  const firstFile = new Map<string, string>();
  for (const definition of set) {
    const where = labelOf(definition);
    const report: Report = (field, message) =>
      problems.push({ file: definition.file, definition: where, field, message });
    const { name, spec } = definition;
    if (!namePattern.test(name))
      report('name', `"${name}" is not a name; use lowercase letters, digits, _ and -, a letter first, at most 100`);
    if (!spec) {
      report(
        'spec',
        'says nothing about what it defines; set one of entity, source, feature_view, feature_service, model, deployment',
      );
      continue;
    }
    const earlier = firstFile.get(where);
    if (earlier !== undefined)
      report('name', `${where} is defined twice: in "${earlier}" and in "${definition.file}"; keep one`);
    else firstFile.set(where, definition.file);
    if ((definition.metadata?.tags.size ?? 0) > 64)
      report('metadata.tags', `${definition.metadata?.tags.size} tags are over the limit of 64`);
    validateSpec(name, spec, catalog, report);
  }
  problems.push(...cycleProblems(set, catalog));
  return problems;
}

function validateSpec(
  name: string,
  spec: NonNullable<definitions.Definition['spec']>,
  catalog: Catalog,
  report: Report,
): void {
  switch (spec.$case) {
    case 'entity':
      validateEntity(spec.value, report);
      break;
    case 'source':
      validateSource(spec.value, report);
      break;
    case 'featureView':
      validateView(name, spec.value, catalog, report);
      break;
    case 'featureService':
      validateService(spec.value, catalog, report);
      break;
    case 'model':
      validateModel(spec.value, catalog, report);
      break;
    case 'deployment':
      validateDeployment(name, spec.value, catalog, report);
      break;
    default:
      spec satisfies never;
  }
}

function validateEntity({ joinKeys }: definitions.Entity, report: Report): void {
  if (joinKeys.length === 0) report('join_keys', 'an entity has at least one join key');
  if (joinKeys.length > 8) report('join_keys', `${joinKeys.length} join keys are over the limit of 8`);
  unique(
    joinKeys.map(({ name }) => name),
    'join_keys',
    'join key',
    report,
  );
  for (const { name, type } of joinKeys) {
    if (!fieldPattern.test(name))
      report(`join_keys.${name}`, `"${name}" is not a name; use lowercase letters, digits and _`);
    if (!keyTypes.has(fieldTypeOf(type) ?? ''))
      report(`join_keys.${name}`, `a join key is STRING, INT64 or BOOL, not ${fieldTypeOf(type) ?? 'unspecified'}`);
  }
}

function validateSource(source: definitions.Source, report: Report): void {
  const { fields } = source;
  if (fields.length === 0) report('fields', 'a source has at least one field');
  if (fields.length > 256) report('fields', `${fields.length} fields are over the limit of 256`);
  unique(
    fields.map(({ name }) => name),
    'fields',
    'field',
    report,
  );
  for (const field of fields) validateField(field, report);
  const byName = new Map(fields.map((field) => [field.name, field]));
  const eventTime = byName.get(source.eventTimeField);
  if (source.eventTimeField !== '') {
    if (!eventTime)
      report(
        'event_time_field',
        `there is no field "${source.eventTimeField}"; fields: ${[...byName.keys()].join(', ')}`,
      );
    else if (eventTime.type !== definitions.FieldType.TIMESTAMP)
      report(
        'event_time_field',
        `field "${eventTime.name}" is ${fieldTypeOf(eventTime.type)}; the event time is a TIMESTAMP`,
      );
    else if (eventTime.nullable)
      report('event_time_field', `field "${eventTime.name}" is nullable; an event always has a time`);
  }
  if (source.keyField !== '' && !byName.has(source.keyField))
    report('key_field', `there is no field "${source.keyField}"; fields: ${[...byName.keys()].join(', ')}`);
  if (byName.get(source.keyField)?.type === definitions.FieldType.VECTOR)
    report('key_field', `field "${source.keyField}" is a vector; spread events by a single value`);
  if (source.partitions < 0 || source.partitions > 64)
    report('partitions', `${source.partitions} partitions; write 1 to 64`);
  if (source.maxFutureSkewUs < 0n) report('max_future_skew_us', 'cannot be negative');
  if (source.maxLatenessUs < 0n) report('max_lateness_us', 'cannot be negative');
  const typed = sourceFieldsOf(source);
  const problems = [
    ...treatmentProblems(source, typed),
    ...expectationProblems(source, typed),
    ...batchProblems(source),
    ...payloadProblems(source),
    ...changeProblems(source),
  ];
  for (const { path, problem } of problems) report(path, problem);
}

function validateField(field: definitions.SourceField, report: Report): void {
  const path = `fields.${field.name}`;
  const type = fieldTypeOf(field.type);
  if (!fieldPattern.test(field.name))
    report(path, `"${field.name}" is not a name; use lowercase letters, digits and _, a letter first`);
  const isVector = field.type === definitions.FieldType.VECTOR;
  const typeName = isVector ? vectorType(field.dimension) : type;
  if (typeName === undefined) report(path, 'has no type; use BOOL, INT64, DOUBLE, STRING, TIMESTAMP or VECTOR');
  if (isVector && !(field.dimension >= 1 && field.dimension <= dimensionMax))
    report(path, `a vector of ${field.dimension} numbers; write a dimension of 1 to ${dimensionMax}, as VECTOR(384)`);
  if (!isVector && field.dimension !== 0) report(path, `only a VECTOR has a dimension, not ${type}`);
  if (field.enumValues.length > 0 && type !== 'STRING')
    report(path, `only a STRING has allowed values, not ${typeName}`);
  if (field.enumValues.length > 1000)
    report(path, `${field.enumValues.length} allowed values are over the limit of 1000`);
  const ranged = field.min !== undefined || field.max !== undefined;
  if (ranged && !rangeTypes.has(type ?? ''))
    report(path, `only INT64, DOUBLE and TIMESTAMP have a range, not ${typeName}`);
  if (field.min !== undefined && field.max !== undefined && field.min > field.max)
    report(path, `min ${field.min} is above max ${field.max}`);
}

function validateView(name: string, view: definitions.FeatureView, catalog: Catalog, report: Report): void {
  const entity = catalog.entity(view.entity);
  const source = catalog.source(view.source);
  if (!entity) report('entity', `there is no entity "${view.entity}"; ${known(catalog, 'entity')}`);
  if (!source) report('source', `there is no source "${view.source}"; ${known(catalog, 'source')}`);
  if (view.features.length > 256) report('features', `${view.features.length} features are over the limit of 256`);
  for (const { name: derived } of view.derived)
    if (!fieldPattern.test(derived))
      report(`derived.${derived}`, `"${derived}" is not a name; use lowercase letters, digits and _`);
  for (const feature of view.features) {
    if (!fieldPattern.test(feature.name))
      report(`features.${feature.name}`, `"${feature.name}" is not a name; use lowercase letters, digits and _`);
    if (functionOf(feature.function) === undefined) report(`features.${feature.name}.function`, 'has no function');
    if (!feature.window?.kind)
      report(`features.${feature.name}.window`, 'has no window; use sliding, tumbling, session or lifetime');
  }
  for (const { joinKey } of view.keys) {
    if (entity && !entity.joinKeys.some((key) => key.name === joinKey))
      report(
        `keys.${joinKey}`,
        `entity "${view.entity}" has no join key "${joinKey}"; join keys: ${entity.joinKeys.map((key) => key.name).join(', ')}`,
      );
  }
  if (!entity || !source) return;
  // every field of the source, so that messages can list them
  const resolved = { ...resolveView(name, view, entity, source), fields: sourceFieldsOf(source) };
  const problems = checkView(resolved);
  for (const { path, problem } of problems.length > 0 ? problems : expectationProblemsOf(resolved, view))
    report(path, problem);
}

function expectationProblemsOf(resolved: ViewDefinition, { expectations }: definitions.FeatureView) {
  const fields = checkableFeatures(resolved);
  const lists = resolved.features
    .map(({ name }) => name)
    .filter((name) => !fields.some((field) => field.name === name));
  return featureExpectationProblems(expectations, fields, lists);
}

export function unique(names: readonly string[], path: string, what: string, report: Report): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) report(`${path}.${name}`, `two ${what}s are named "${name}"`);
    seen.add(name);
  }
}
