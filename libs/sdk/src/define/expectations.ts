import type { expectations } from '@millrace/contracts';
import { parseDurationUs } from '@millrace/kernel';

/**
 * `warn` counts and lets pass (the default over an interval), `quarantine` (the default for events) sets the event aside, `block` refuses the whole
 * batch, and over an interval all that comes until the source is resumed.
 */
export type SeverityName = 'warn' | 'quarantine' | 'block';

type Check<Field extends string> =
  | { readonly notNull: Field }
  | { readonly range: { readonly field: Field; readonly min?: number; readonly max?: number } }
  | { readonly set: { readonly field: Field; readonly values: readonly (string | number | boolean)[] } }
  /** RE2 syntax, unanchored. */
  | { readonly matches: { readonly field: Field; readonly pattern: string } }
  /** The window as `'1h'`. */
  | { readonly unique: { readonly fields: readonly Field[]; readonly window: string } }
  /** CEL over the fields. */
  | { readonly condition: string }
  | { readonly completeness: { readonly field: Field; readonly minRate: number } }
  | { readonly distinctness: { readonly field: Field; readonly minRate: number } }
  | {
      readonly volume: {
        readonly minRows?: number;
        readonly maxRows?: number;
        readonly minRatio?: number;
        readonly maxRatio?: number;
      };
    }
  /** The largest age of the newest event at an interval's end, as `'5m'`. */
  | { readonly freshness: string }
  | {
      readonly distribution: {
        readonly field: Field;
        readonly metric?: 'psi' | 'ks';
        readonly max?: number;
        readonly alpha?: number;
        readonly edges?: readonly number[];
        readonly categories?: readonly string[];
        readonly counts?: readonly number[];
        readonly values?: readonly number[];
      };
    }
  /** `q` 0.5 is the median; both bounds are included. */
  | {
      readonly quantile: {
        readonly field: Field;
        readonly q: number;
        readonly min?: number;
        readonly max?: number;
      };
    };

/**
 * What a source expects. Checks of an interval (from `completeness` on) look at the events accepted in it, and warn or block; with `perBatch` they look
 * at each batch before it is accepted, and warn, set its events aside or refuse it.
 */
export type ExpectationSpec<Field extends string = string> = Check<Field> & {
  readonly severity?: SeverityName;
  /** Of checks of an interval, and of the results of the others, as `'1m'` (the default). */
  readonly interval?: string;
  /** Looks at the events that are handed in together; a batch of fewer rows (20 unless said; 1 of a volume) is not judged. */
  readonly perBatch?: true | { readonly minRows?: number };
  /** Of checks of an interval that block, as `'15m'`: the source is resumed by itself after this time; left out: by `millrace quality resume`. */
  readonly resumeAfter?: string;
  readonly description?: string;
};

/**
 * What a view expects of its features. It changes no value: `warn` (the default) is counted and raises an alert, `block` also keeps a new version from
 * being switched to and a training set or a materialization from being made.
 */
export type FeatureExpectationSpec<Feature extends string = string> = Exclude<
  Check<Feature>,
  { readonly unique: unknown }
> & {
  readonly severity?: 'warn' | 'block';
  /** Of rows that are written in a running stream, as `'1m'` (the default). */
  readonly interval?: string;
  readonly description?: string;
};

const severities = { warn: 1, quarantine: 2, block: 3 } as const satisfies Record<SeverityName, expectations.Severity>;

export function expectationsToProto(
  specs: Readonly<Record<string, ExpectationSpec>> | undefined,
): expectations.Expectation[] {
  return Object.entries(specs ?? {}).map(([name, spec]) => ({
    name,
    severity: spec.severity === undefined ? 0 : severities[spec.severity],
    description: spec.description ?? '',
    intervalUs: spec.interval === undefined ? 0n : BigInt(parseDurationUs(spec.interval)),
    resumeAfterUs: spec.resumeAfter === undefined ? undefined : BigInt(parseDurationUs(spec.resumeAfter)),
    perBatch:
      spec.perBatch === undefined ? undefined : { minRows: spec.perBatch === true ? undefined : spec.perBatch.minRows },
    check: checkOf(spec),
  }));
}

function checkOf(spec: ExpectationSpec): expectations.Expectation['check'] {
  if ('notNull' in spec) return { $case: 'notNull', value: { field: spec.notNull } };
  if ('range' in spec) {
    const { field, min, max } = spec.range;
    return { $case: 'inRange', value: { field, min, max } };
  }
  if ('set' in spec) return { $case: 'inSet', value: { field: spec.set.field, values: spec.set.values.map(String) } };
  if ('matches' in spec) return { $case: 'matches', value: spec.matches };
  if ('unique' in spec) {
    const windowUs = BigInt(parseDurationUs(spec.unique.window));
    return { $case: 'unique', value: { fields: [...spec.unique.fields], windowUs } };
  }
  if ('condition' in spec) return { $case: 'condition', value: { cel: spec.condition } };
  if ('completeness' in spec) return { $case: 'completeness', value: spec.completeness };
  if ('distinctness' in spec) return { $case: 'distinctness', value: spec.distinctness };
  if ('volume' in spec) {
    const { minRows, maxRows, minRatio, maxRatio } = spec.volume;
    const rows = (count: number | undefined) => (count === undefined ? undefined : BigInt(Math.round(count)));
    return { $case: 'volume', value: { minRows: rows(minRows), maxRows: rows(maxRows), minRatio, maxRatio } };
  }
  if ('freshness' in spec) return { $case: 'freshness', value: { maxAgeUs: BigInt(parseDurationUs(spec.freshness)) } };
  if ('quantile' in spec) {
    const { field, q, min, max } = spec.quantile;
    return { $case: 'quantile', value: { field, q, min, max } };
  }
  const {
    field,
    metric = 'psi',
    max,
    alpha = 0,
    edges = [],
    categories = [],
    counts = [],
    values = [],
  } = spec.distribution;
  return {
    $case: 'distribution',
    value: {
      field,
      metric: metric === 'ks' ? 2 : 1,
      max,
      alpha,
      edges: [...edges],
      categories: [...categories],
      counts: [...counts],
      values: [...values],
    },
  };
}
