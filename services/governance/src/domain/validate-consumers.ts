import type { definitions } from '@millrace/contracts';
import { type FeatureType, isListType, viewFeatureTypes } from '@millrace/features';
import { resolveView } from '@millrace/registry';
import { type Catalog, known } from './catalog.ts';
import type { Report } from './problem.ts';

export function validateService({ features }: definitions.FeatureService, catalog: Catalog, report: Report): void {
  if (features.length === 0) report('features', 'a feature service has at least one feature');
  if (features.length > 1024) report('features', `${features.length} features are over the limit of 1024`);
  const seen = new Set<string>();
  for (const [index, reference] of features.entries()) {
    const path = `features.${index}`;
    const name = reference.alias || `${reference.view}__${reference.feature}`;
    if (seen.has(name)) report(path, `two features are named "${name}"; give one an alias`);
    seen.add(name);
    const view = catalog.featureView(reference.view);
    if (!view) report(path, `there is no feature view "${reference.view}"; ${known(catalog, 'feature_view')}`);
    else if (reference.viewVersion === '' && !view.features.some((feature) => feature.name === reference.feature)) {
      report(
        path,
        `feature view "${reference.view}" has no feature "${reference.feature}"; features: ${view.features.map((feature) => feature.name).join(', ')}`,
      );
    }
    if (reference.maxAgeUs < 0n) report(path, 'max_age cannot be negative');
    if (reference.staleAction === 3 && reference.defaultValue === undefined)
      report(path, `"${name}" is defaulted when stale and has no default_value`);
    const type = featureTypeOf(reference, catalog);
    if (reference.defaultValue !== undefined && type !== undefined && isListType(type))
      report(path, `"${name}" is ${type} and a list has no default; leave it out: a list of nothing is empty`);
  }
}

export function validateModel(model: definitions.Model, catalog: Catalog, report: Report): void {
  if (model.format !== 'onnx') report('format', `format "${model.format}" is not served; use "onnx"`);
  if (model.uri === '') report('uri', 'is empty; write a path in the model repository or a file: URL');
  if (!/^[0-9a-f]{64}$/.test(model.sha256))
    report('sha256', `"${model.sha256}" is not a SHA-256; write 64 hex digits, as sha256sum prints them`);
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
  const references = new Map(
    service?.features.map((reference) => [reference.alias || `${reference.view}__${reference.feature}`, reference]),
  );
  for (const [index, { source }] of model.inputColumns.entries()) {
    if (!source) report(`input_columns.${index}`, 'names neither a feature nor a request field');
    else if (source.$case === 'feature' && model.featureService === '')
      report(`input_columns.${index}`, `feature "${source.value}" needs a feature_service`);
    else if (source.$case === 'feature' && service && !references.has(source.value))
      report(`input_columns.${index}`, `feature service "${model.featureService}" has no feature "${source.value}"`);
    else if (source.$case === 'feature') {
      const reference = references.get(source.value);
      const type = reference && featureTypeOf(reference, catalog);
      if (type !== undefined && (type === 'STRING' || isListType(type)))
        report(
          `input_columns.${index}`,
          `feature "${source.value}" is ${type} and a model's vector holds numbers; take numbers of it, such as a count with a filter, a mean or the last value`,
        );
    }
  }
  if (model.outcome) validateOutcome(model.outcome, catalog, report);
}

/** Undefined where the view, its entity or its source is not known, and of an older version of the view. */
function featureTypeOf(reference: definitions.FeatureReference, catalog: Catalog): FeatureType | undefined {
  const spec = reference.viewVersion === '' ? catalog.featureView(reference.view) : undefined;
  const entity = spec && catalog.entity(spec.entity);
  const source = spec && catalog.source(spec.source);
  if (!entity || !source) return undefined;
  const view = resolveView(reference.view, spec, entity, source);
  return viewFeatureTypes(view)[view.features.findIndex(({ name }) => name === reference.feature)];
}

function validateOutcome(outcome: definitions.OutcomeJoin, catalog: Catalog, report: Report): void {
  const source = catalog.source(outcome.source);
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

export function validateDeployment({ targets }: definitions.Deployment, catalog: Catalog, report: Report): void {
  if (targets.length === 0) report('targets', 'a deployment has at least one target');
  if (targets.length > 16) report('targets', `${targets.length} targets are over the limit of 16`);
  for (const [index, { model, weight }] of targets.entries()) {
    if (!catalog.model(model)) report(`targets.${index}`, `there is no model "${model}"; ${known(catalog, 'model')}`);
    if (!(weight >= 0) || !Number.isFinite(weight)) report(`targets.${index}`, `weight ${weight} is not 0 or more`);
  }
  if (targets.length > 0 && targets.every(({ weight }) => weight === 0))
    report('targets', 'every weight is 0: no traffic would go anywhere');
}
