import { definitions } from '@millrace/contracts';
import { payloadIdentity } from '@millrace/payloads';

type Spec = NonNullable<definitions.Definition['spec']>;

/**
 * What of a spec affects values, and so makes its version. Descriptions are for people, and which schemas may follow, or where
 * rows come from, says nothing about this one; nor do expectations of features, how long a model's answers are kept and what they are checked against, which change no value. What a source, a feature service or a deployment may have and does not is left out, so that it keeps the version that
 * it had before it could have it.
 */
export function valueAffecting(spec: Spec): { readonly $case: string; readonly value: unknown } {
  if (spec.$case === 'source') return { $case: spec.$case, value: sourceValue(spec.value) };
  if (spec.$case === 'featureService') return { $case: spec.$case, value: serviceValue(spec.value) };
  if (spec.$case === 'model') return { $case: spec.$case, value: modelValue(spec.value) };
  if (spec.$case === 'deployment') return { $case: spec.$case, value: deploymentValue(spec.value) };
  if (spec.$case !== 'featureView') return spec;
  const { features, derived, expectations: _, ...rest } = spec.value;
  return { $case: spec.$case, value: { ...rest, features: undescribed(features), derived: undescribed(derived) } };
}

function serviceValue({ features, derived, requestFields }: definitions.FeatureService) {
  return {
    features: features.map(({ hidden, through, ...reference }) => ({
      ...reference,
      ...(hidden ? { hidden } : {}),
      ...(through.length === 0 ? {} : { through: through.toSorted((a, b) => (a.joinKey < b.joinKey ? -1 : 1)) }),
    })),
    ...(derived.length === 0 ? {} : { derived: undescribed(derived) }),
    ...(requestFields.length === 0 ? {} : { requestFields }),
  };
}

/** An answer that is given again is the same answer, and so is one that is watched or checked. */
function modelValue({
  responseCacheTtlUs: _,
  profile: __,
  segments: ___,
  golden: ____,
  custom,
  ...rest
}: definitions.Model) {
  // a Map has no JSON
  return { ...rest, custom: custom && { ...custom, parameters: Object.fromEntries(custom.parameters) } };
}

function deploymentValue({ targets, unit, rules }: definitions.Deployment) {
  return { targets, ...(unit === '' ? {} : { unit }), ...(rules.length === 0 ? {} : { rules }) };
}

function undescribed<T extends { readonly description: string }>(features: readonly T[]): Omit<T, 'description'>[] {
  return features.map(({ description: _, ...feature }) => feature);
}

function sourceValue({
  compatibility: _,
  retiredFields: __,
  batchInputs: ____,
  expectations,
  fields,
  payload,
  changes,
  debezium,
  ...rest
}: definitions.Source) {
  return {
    ...rest,
    fields: fields.map(({ defaultValue, missing, outliers, ...field }) => ({
      ...field,
      ...(defaultValue === undefined ? {} : { defaultValue }),
      ...(missing === 0 ? {} : { missing }),
      ...(outliers === undefined ? {} : { outliers }),
    })),
    ...(payload === undefined ? {} : { payload: payloadIdentity(payload) }),
    ...(changes === definitions.Changes.UPSERT ? { changes } : {}),
    ...(debezium === undefined ? {} : { debezium }),
    ...(expectations.length === 0
      ? {}
      : { expectations: expectations.map(({ description: ___, ...expectation }) => expectation) }),
  };
}
