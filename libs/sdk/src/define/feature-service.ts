import { definitions } from '@millrace/contracts';
import { parseDurationUs } from '@millrace/kernel';
import { type DerivedOption, derivedToProto, type RequestFields, requestToProto } from './derived.ts';
import type { FeatureView } from './feature-view.ts';
import { type Lookup, withLookups } from './lookup.ts';
import { type Defined, define, type MetadataOptions } from './types.ts';

export interface ReferenceOptions {
  /** The name in answers; left out: `<view>__<feature>`. */
  readonly as?: string;
  /** The view's version; left out: the version that is current when the service is applied. */
  readonly version?: string;
  /** Served with status DEFAULTED in place of null, not-found and (by policy) stale values. */
  readonly default?: number | bigint | string | boolean;
  /** The age beyond which the value is stale, as `'10m'`. */
  readonly maxAge?: string;
  /** Read for the service's expressions and lookups alone, and not in answers. */
  readonly hidden?: boolean;
  /** What happens then; `'serve'` unless set. */
  readonly whenStale?: 'serve' | 'null' | 'default' | 'fail';
}

export type FeatureRef = definitions.FeatureReference;

/** One feature of a view: a name that the view does not have does not compile. */
export function feature<N extends string>(
  view: FeatureView<N>,
  name: NoInfer<N>,
  options: ReferenceOptions = {},
): FeatureRef {
  const actions = {
    serve: definitions.StaleAction.SERVE,
    null: definitions.StaleAction.NULL,
    default: definitions.StaleAction.DEFAULT,
    fail: definitions.StaleAction.FAIL,
  } as const;
  return {
    view: view.name,
    feature: name,
    viewVersion: options.version ?? '',
    alias: options.as ?? '',
    defaultValue: options.default === undefined ? undefined : toValue(options.default),
    maxAgeUs: options.maxAge === undefined ? 0n : BigInt(parseDurationUs(options.maxAge)),
    staleAction: actions[options.whenStale ?? 'serve'],
    hidden: options.hidden ?? false,
    through: [],
  };
}

/** Every feature of a view, in its order. */
export function allFeatures<N extends string>(
  view: FeatureView<N>,
  options: Omit<ReferenceOptions, 'as'> = {},
): FeatureRef[] {
  return view.featureNames.map((name) => feature(view, name, options));
}

export interface FeatureService extends Defined {
  readonly kind: 'featureService';
  readonly name: string;
}

export interface FeatureServiceOptions extends MetadataOptions {
  readonly features?: readonly (FeatureRef | readonly FeatureRef[] | Lookup)[];
  /** Computed from the service's features, by their names in answers, and from request fields; after them in answers: `{ speed: 'distance / minutes' }`. */
  readonly derived?: Readonly<Record<string, DerivedOption>>;
  /** What requests bring for the expressions: `{ distance: double(), note: string({ nullable: true }) }`. */
  readonly request?: RequestFields;
}

/** An ordered list of features that a consumer reads. */
export function featureService(name: string, options: FeatureServiceOptions): FeatureService {
  const features = withLookups(options.features ?? []);
  const derived = derivedToProto(options.derived ?? {});
  const requestFields = requestToProto(options.request ?? {});
  return {
    kind: 'featureService',
    name,
    definition: define(name, options, { $case: 'featureService', value: { features, derived, requestFields } }),
  };
}

export function toValue(value: number | bigint | string | boolean): definitions.Value {
  if (typeof value === 'boolean') return { kind: { $case: 'boolValue', value } };
  if (typeof value === 'bigint') return { kind: { $case: 'int64Value', value } };
  if (typeof value === 'string') return { kind: { $case: 'stringValue', value } };
  return { kind: { $case: 'doubleValue', value } };
}
