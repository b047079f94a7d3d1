import { definitions } from '@millrace/contracts';
import {
  asOfName,
  checkView,
  derivedMax,
  type FeatureType,
  isListType,
  isVectorType,
  type ViewDefinition,
} from '@millrace/features';
import { fieldTypeOf, outputNames, referenceName, shapeOf } from '@millrace/registry';
import { trafficProblems } from '@millrace/rollouts';
import { isCorrectable } from '@millrace/sources';
import { type Catalog, known } from './catalog.ts';
import type { Report } from './problem.ts';
import { validateRemote } from './validate-remote.ts';

const fieldPattern = /^[a-z][a-z0-9_]{0,99}$/;
const requestFieldsMax = 64;

export function validateService(service: definitions.FeatureService, catalog: Catalog, report: Report): void {
  const { features, derived, requestFields } = service;
  if (outputNames(service).length === 0)
    report('features', 'a feature service has at least one feature that is not hidden');
  if (features.length === 0 && requestFields.length === 0)
    report('features', 'the service reads nothing; name a feature or a request field');
  if (features.length > 1024) report('features', `${features.length} features are over the limit of 1024`);
  if (derived.length > derivedMax)
    report('derived', `${derived.length} derived features are over the limit of ${derivedMax}`);
  if (requestFields.length > requestFieldsMax)
    report('request_fields', `${requestFields.length} request fields are over the limit of ${requestFieldsMax}`);
  const seen = new Set<string>();
  for (const [index, reference] of features.entries())
    validateReference(reference, `features.${index}`, seen, catalog, report);
  for (const { name, type } of requestFields) {
    newName(name, `request_fields.${name}`, seen, report);
    if (fieldTypeOf(type) === undefined)
      report(`request_fields.${name}`, 'has no type; use BOOL, INT64, DOUBLE, STRING or TIMESTAMP');
  }
  for (const { name } of derived) newName(name, `derived.${name}`, seen, report);
  validateExpressions(service, catalog, report);
}

function validateReference(
  reference: definitions.FeatureReference,
  path: string,
  seen: Set<string>,
  catalog: Catalog,
  report: Report,
): void {
  const name = referenceName(reference);
  if (seen.has(name)) report(path, `two features are named "${name}"; give one an alias`);
  seen.add(name);
  const view = catalog.featureView(reference.view);
  const names = [...(view?.features ?? []), ...(view?.derived ?? [])].map((feature) => feature.name);
  if (!view) report(path, `there is no feature view "${reference.view}"; ${known(catalog, 'feature_view')}`);
  else if (reference.viewVersion === '' && !names.includes(reference.feature))
    report(
      path,
      `feature view "${reference.view}" has no feature "${reference.feature}"; features: ${names.join(', ')}`,
    );
  if (reference.maxAgeUs < 0n) report(path, 'max_age cannot be negative');
  if (reference.staleAction === definitions.StaleAction.DEFAULT && reference.defaultValue === undefined)
    report(path, `"${name}" is defaulted when stale and has no default_value`);
}

function newName(name: string, path: string, seen: Set<string>, report: Report): void {
  if (!fieldPattern.test(name))
    report(path, `"${name}" is not a name; use lowercase letters, digits and _, a letter first, at most 100`);
  if (name === asOfName) report(path, '"as_of" is the read time; use another name');
  if (seen.has(name)) report(path, `two features or request fields are named "${name}"`);
  seen.add(name);
}

/** Expressions are checked once every view that the service reads is sound: what is wrong with a view is said there. */
function validateExpressions(service: definitions.FeatureService, catalog: Catalog, report: Report): void {
  const viewOf = soundViews(service, catalog);
  const missing = service.features.findIndex(({ view, viewVersion }) => !viewOf(view, viewVersion));
  const pinned = service.features[missing];
  const isChecked = service.derived.length > 0 || service.features.some(({ through }) => through.length > 0);
  if (pinned && pinned.viewVersion !== '' && isChecked && catalog.featureView(pinned.view))
    report(
      `features.${missing}`,
      `version "${pinned.viewVersion}" of feature view "${pinned.view}" is not held ready, so expressions and lookups over it cannot be checked; leave the version out`,
    );
  const { outputs } = shapeOf(service, viewOf, (field, message) => {
    if (missing < 0 && /^derived\.|\.through/.test(field)) report(field, message);
  });
  for (const [index, reference] of service.features.entries()) {
    const name = referenceName(reference);
    const type = outputs.find((output) => output.name === name)?.type;
    if (reference.defaultValue !== undefined && type !== undefined && isVectorType(type))
      report(`features.${index}`, `"${name}" is ${type} and a vector has no default; leave it out`);
    if (reference.defaultValue !== undefined && type !== undefined && isListType(type))
      report(
        `features.${index}`,
        `"${name}" is ${type} and a list has no default; leave it out: a list of nothing is empty`,
      );
  }
}

const formats: readonly string[] = ['onnx', 'xgboost', 'lightgbm', 'custom', 'remote'];

export function validateModel(model: definitions.Model, catalog: Catalog, report: Report): void {
  if (!formats.includes(model.format))
    report('format', `format "${model.format}" is not served; use one of ${formats.join(', ')}`);
  if (model.format !== 'remote') validateFile('', model, report);
  if (model.trees) validateFile('trees.', model.trees, report);
  if (model.profile) validateFile('profile.', model.profile, report);
  if (model.segments.length > 8) report('segments', `${model.segments.length} columns are over the limit of 8`);
  if (model.golden) validateFile('golden.', model.golden, report);
  validateCustom(model, report);
  validateRemote(model, report);
  if (model.inputColumns.length > 1024)
    report('input_columns', `${model.inputColumns.length} columns are over the limit of 1024`);
  const service = model.featureService === '' ? undefined : catalog.featureService(model.featureService);
  if (model.featureService !== '' && !service)
    report(
      'feature_service',
      `there is no feature service "${model.featureService}"; ${known(catalog, 'feature_service')}`,
    );
  if (model.featureService !== '' && model.inputColumns.length > 0 && model.inputName === '')
    report('input_name', 'is empty; name the input tensor that takes the vector');
  const types = service && outputTypes(service, catalog);
  const names = new Set(service && outputNames(service));
  for (const [index, { source }] of model.inputColumns.entries()) {
    if (!source) report(`input_columns.${index}`, 'names neither a feature nor a request field');
    else if (source.$case === 'feature' && model.featureService === '')
      report(`input_columns.${index}`, `feature "${source.value}" needs a feature_service`);
    else if (source.$case === 'feature' && service && !names.has(source.value))
      report(`input_columns.${index}`, `feature service "${model.featureService}" has no feature "${source.value}"`);
    else if (source.$case === 'feature') {
      const type = types?.get(source.value);
      if (type !== undefined && (type === 'STRING' || isListType(type) || isVectorType(type)))
        report(
          `input_columns.${index}`,
          `feature "${source.value}" is ${type} and a model's vector holds numbers; take numbers of it, such as a count with a filter, a mean or the last value`,
        );
    }
  }
  if (model.responseCacheTtlUs < 0n) report('response_cache_ttl_us', 'cannot be negative');
  if (model.outcome) validateOutcome(model.outcome, catalog, report);
}

const moduleUri = /\.m?[jt]s$/;

/** How a model of TypeScript or JavaScript is run. */
function validateCustom({ format, uri, custom }: definitions.Model, report: Report): void {
  if (format === 'custom' && uri !== '' && !moduleUri.test(uri))
    report('uri', `"${uri}" is no module; a custom model is one file that ends in .ts, .mts, .js or .mjs`);
  if (!custom) return;
  if (format !== 'custom') report('custom', `is for models of format custom, and this one is ${format}`);
  const within = (field: string, value: number, least: number, most: number) => {
    if (value !== 0 && (value < least || value > most))
      report(`custom.${field}`, `${value} is not from ${least} to ${most}; leave it out for the default`);
  };
  within('memory_mib', custom.memoryMib, 16, 65_536);
  within('processes', custom.processes, 1, 16);
  within('load_timeout_us', Number(custom.loadTimeoutUs), 1_000, 600e6);
  within('predict_timeout_us', Number(custom.predictTimeoutUs), 1_000, 600e6);
  if (custom.parameters.size > 64)
    report('custom.parameters', `${custom.parameters.size} parameters are over the limit of 64`);
  if (custom.files.length > 16) report('custom.files', `${custom.files.length} files are over the limit of 16`);
  for (const [at, file] of custom.files.entries()) {
    validateFile(`custom.files.${file.name}.`, file, report);
    if (custom.files.findIndex(({ name }) => name === file.name) < at)
      report(`custom.files.${file.name}`, 'two files have this name; give each one of its own');
  }
}

function validateFile(path: string, { uri, sha256 }: definitions.ModelFile, report: Report): void {
  if (uri === '') report(`${path}uri`, 'is empty; write a path in the model repository or a file: URL');
  if (!/^[0-9a-f]{64}$/.test(sha256))
    report(`${path}sha256`, `"${sha256}" is not a SHA-256; write 64 hex digits, as sha256sum prints them`);
}

/** The types of a service's answers, as far as the views that it reads are sound. */
function outputTypes(service: definitions.FeatureService, catalog: Catalog): ReadonlyMap<string, FeatureType> {
  const { outputs } = shapeOf(service, soundViews(service, catalog), () => undefined);
  return new Map(outputs.map(({ name, type }) => [name, type]));
}

/** The views of a service that are known and have no problem of their own. */
function soundViews(service: definitions.FeatureService, catalog: Catalog) {
  const views = new Map<string, ViewDefinition | undefined>();
  for (const { view, viewVersion } of service.features) {
    const resolved = catalog.resolvedView(view, viewVersion);
    views.set(`${view}@${viewVersion}`, resolved && checkView(resolved).length === 0 ? resolved : undefined);
  }
  return (view: string, version: string) => views.get(`${view}@${version}`);
}

function validateOutcome(outcome: definitions.OutcomeJoin, catalog: Catalog, report: Report): void {
  const source = catalog.source(outcome.source);
  if (source && isCorrectable(source))
    report(
      'outcome.source',
      `events of source "${outcome.source}" may be corrected (changes: upsert), and an outcome counts once; take outcomes from a source whose events stay as they are`,
    );
  if (!source) {
    report('outcome.source', `there is no source "${outcome.source}"; ${known(catalog, 'source')}`);
    return;
  }
  const fields = source.fields.map(({ name }) => name);
  for (const [path, field] of [
    ['outcome.key_field', outcome.keyField],
    ['outcome.label_field', outcome.labelField],
  ] as const) {
    if (!fields.includes(field))
      report(path, `source "${outcome.source}" has no field "${field}"; fields: ${fields.join(', ')}`);
  }
}

export function validateDeployment(
  name: string,
  { targets, unit, rules }: definitions.Deployment,
  catalog: Catalog,
  report: Report,
): void {
  validateTargets('targets', 'a deployment', targets, catalog, report);
  for (const { field, message } of trafficProblems({ name, unit, rules })) report(field, message);
  for (const [index, rule] of rules.entries())
    validateTargets(`rules.${index}.targets`, `rule "${rule.name}"`, rule.targets, catalog, report);
}

function validateTargets(
  field: string,
  whose: string,
  targets: readonly definitions.DeploymentTarget[],
  catalog: Catalog,
  report: Report,
): void {
  if (targets.length === 0) report(field, `${whose} has at least one target`);
  if (targets.length > 16) report(field, `${targets.length} targets are over the limit of 16`);
  for (const [index, { model, weight }] of targets.entries()) {
    if (!catalog.model(model)) report(`${field}.${index}`, `there is no model "${model}"; ${known(catalog, 'model')}`);
    if (!(weight >= 0) || !Number.isFinite(weight)) report(`${field}.${index}`, `weight ${weight} is not 0 or more`);
  }
  if (targets.length > 0 && targets.every(({ weight }) => weight === 0))
    report(field, 'every weight is 0: no traffic would go anywhere');
}
