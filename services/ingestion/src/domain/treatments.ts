import { definitions, expectations } from '@millrace/contracts';
import type { Scalar } from '@millrace/features';
import type { FieldReader } from './field-reader.ts';
import { type Problem, problem } from './problem.ts';

/** What was fitted to a field's history. */
export type Fitted = {
  readonly mean: number;
  readonly stddev: number;
  readonly q1: number;
  readonly median: number;
  readonly q3: number;
};

/** Where values come from that the event does not bring. */
export type ValueSources = {
  fitted(field: string): Fitted | undefined;
  /** The latest value of the key at or before the time. */
  latest(field: string, key: string, timeUs: number): Scalar | undefined;
};

export const noValueSources: ValueSources = { fitted: () => undefined, latest: () => undefined };

export type TreatmentKind =
  | 'default'
  | 'forward'
  | 'mean'
  | 'median'
  | 'outlier_flag'
  | 'outlier_clip'
  | 'outlier_null';

/** Something that was done to a value, or seen on it. */
export type Note = { readonly field: string; readonly kind: TreatmentKind; readonly message: string };

/** How a row's field was given. */
export type Given = 'value' | 'null' | 'absent';

export type RowContext = { readonly row: number; readonly key: () => string; readonly timeUs: number };

export type Treatment = {
  readonly at: number;
  readonly name: string;
  /** True when later events may take this one's value. */
  readonly forward: boolean;
  apply(reader: FieldReader, given: Given, context: RowContext, note: (note: Note) => void): Problem | null;
};

const { MissingAction, OutlierAction } = expectations;

/** The fields whose missing or far-out values are treated; empty for most sources. */
export function compileTreatments(source: definitions.Source, values: ValueSources): Treatment[] {
  return source.fields.flatMap((field, at): Treatment[] => {
    const { defaultValue, missing, outliers, name } = field;
    if (defaultValue === undefined && missing === MissingAction.UNSPECIFIED && outliers === undefined) return [];
    const fill = compileFill(field, values);
    const outlier = outliers && compileOutlier(field, outliers, values);
    return [
      {
        at,
        name,
        forward: missing === MissingAction.FORWARD,
        apply(reader, given, context, note) {
          const becameNull = given === 'value' && outlier?.(reader, context.row, note) === true;
          if (becameNull) return fill(reader, 'null', context, note);
          return given === 'value' ? null : fill(reader, given, context, note);
        },
      },
    ];
  });
}

type Fill = (
  reader: FieldReader,
  given: 'null' | 'absent',
  context: RowContext,
  note: (note: Note) => void,
) => Problem | null;

function compileFill(field: definitions.SourceField, values: ValueSources): Fill {
  const { name, nullable, missing } = field;
  const isInteger = field.type === definitions.FieldType.INT64;
  const fallback = scalarOf(field.defaultValue);
  const rounded = (value: number) => (isInteger ? Math.round(value) : value);
  const source = (context: RowContext): { readonly kind: TreatmentKind; readonly value: Scalar | undefined } => {
    switch (missing) {
      case MissingAction.FORWARD:
        return { kind: 'forward', value: values.latest(name, context.key(), context.timeUs) };
      case MissingAction.MEAN:
      case MissingAction.MEDIAN: {
        const kind = missing === MissingAction.MEAN ? 'mean' : 'median';
        const fitted = values.fitted(name)?.[kind];
        return { kind, value: fitted === undefined ? undefined : rounded(fitted) };
      }
      default:
        return { kind: 'default', value: undefined };
    }
  };
  return (reader, given, context, note) => {
    if (missing === MissingAction.REJECT) return notGiven(name, given, 'the source rejects events without it');
    const { kind, value } = source(context);
    if (value !== undefined && value !== null) {
      reader.put(value, context.row);
      note({ field: name, kind, message: '' });
      return null;
    }
    // an explicit null of a nullable field means null, unless the source asks for a value in its place
    const keepsNull = nullable && given === 'null' && missing === MissingAction.UNSPECIFIED;
    if (fallback !== undefined && !keepsNull) {
      reader.put(fallback, context.row);
      note({ field: name, kind: 'default', message: '' });
      return null;
    }
    if (nullable) {
      reader.setNull(context.row);
      return null;
    }
    const why =
      kind === 'forward'
        ? 'no value at or before its time is known of its key'
        : kind === 'default'
          ? 'it has no default'
          : `its ${kind} is not fitted yet, as history has too few values`;
    return notGiven(name, given, why);
  };
}

function notGiven(name: string, given: 'null' | 'absent', why: string): Problem {
  const message = `field "${name}" is ${given === 'null' ? 'null' : 'missing'} and ${why}; send a value`;
  return problem(given === 'null' ? 'NULL_NOT_ALLOWED' : 'MISSING_FIELD', name, message);
}

/** Returns true when the value was taken away. */
type Outlier = (reader: FieldReader, row: number, note: (note: Note) => void) => boolean;

function compileOutlier(
  field: definitions.SourceField,
  outliers: expectations.OutlierTreatment,
  values: ValueSources,
): Outlier {
  const { name } = field;
  const isInteger = field.type === definitions.FieldType.INT64;
  const bounds = boundsOf(outliers, () => values.fitted(name));
  return (reader, row, note) => {
    const within = bounds();
    if (within === undefined) return false;
    const value = reader.number(row);
    if (value >= within.min && value <= within.max) return false;
    const message = `field "${name}" ${value} is far out; expected are ${within.min} to ${within.max}`;
    switch (outliers.action) {
      case OutlierAction.CLIP: {
        const bound = value < within.min ? within.min : within.max;
        const inward = value < within.min ? Math.ceil(bound) : Math.floor(bound);
        reader.put(isInteger ? inward : bound, row);
        note({ field: name, kind: 'outlier_clip', message });
        return false;
      }
      case OutlierAction.NULL:
        note({ field: name, kind: 'outlier_null', message });
        return true;
      default:
        note({ field: name, kind: 'outlier_flag', message });
        return false;
    }
  };
}

/** Undefined until there is a fitted state. */
function boundsOf(
  { min, max, zScore, iqr }: expectations.OutlierTreatment,
  fitted: () => Fitted | undefined,
): () => { readonly min: number; readonly max: number } | undefined {
  if (zScore === undefined && iqr === undefined) {
    const given = { min: min ?? Number.NEGATIVE_INFINITY, max: max ?? Number.POSITIVE_INFINITY };
    return () => given;
  }
  let last: Fitted | undefined;
  let bounds: { readonly min: number; readonly max: number } | undefined;
  return () => {
    const state = fitted();
    if (state === last) return bounds;
    last = state;
    bounds = state && fittedBounds(state, zScore, iqr ?? 1.5);
    return bounds;
  };
}

export function fittedBounds({ mean, stddev, q1, q3 }: Fitted, zScore: number | undefined, iqr: number) {
  if (zScore !== undefined) return { min: mean - zScore * stddev, max: mean + zScore * stddev };
  return { min: q1 - iqr * (q3 - q1), max: q3 + iqr * (q3 - q1) };
}

export function needsFitted({ missing, outliers }: definitions.SourceField): boolean {
  return (
    missing === MissingAction.MEAN ||
    missing === MissingAction.MEDIAN ||
    outliers?.zScore !== undefined ||
    outliers?.iqr !== undefined
  );
}

function scalarOf(value: definitions.Value | undefined): Scalar | undefined {
  return value?.kind?.value;
}
