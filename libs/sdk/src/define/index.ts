export type { BatchInputSpec } from './batch.ts';
export { type Cel, cel } from './cel.ts';
export { type DeploymentOptions, deployment, type RuleOptions, type TargetOptions } from './deployment.ts';
export type { DerivedOption, RequestFields } from './derived.ts';
export { type Entity, entity, type JoinKeys } from './entity.ts';
export type { ExpectationSpec, FeatureExpectationSpec, SeverityName } from './expectations.ts';
export {
  allFeatures,
  type FeatureRef,
  type FeatureService,
  feature,
  featureService,
  type ReferenceOptions,
} from './feature-service.ts';
export { type Aggregations, type FeatureSpec, type FeatureView, featureView } from './feature-view.ts';
export {
  bool,
  double,
  type FieldSpec,
  int64,
  type MissingName,
  type OutlierSpec,
  string,
  timestamp,
  vector,
} from './fields.ts';
export { loadDefinitions } from './load.ts';
export { type Lookup, type LookupOptions, lookup } from './lookup.ts';
export {
  type CustomOptions,
  type InputColumn,
  type Model,
  type ModelFormat,
  model,
  type RemoteOptions,
} from './model.ts';
export type { PayloadSpec, SchemaFile } from './payload.ts';
export { type CompatibilityName, type FieldOf, type Fields, type Source, source } from './source.ts';
export { type Defined, isDefined, type MetadataOptions } from './types.ts';
export { lifetime, session, sliding, tumbling } from './windows.ts';
export { parseYamlDefinitions } from './yaml.ts';
