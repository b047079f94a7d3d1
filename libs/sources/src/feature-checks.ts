import type { expectations } from '@millrace/contracts';
import type { SourceField } from '@millrace/features';
import { type IntervalOutcome, intervalOutcome, type Measured } from './interval-outcome.ts';
import { type Columns, compileRowChecks, fieldsOfCondition, textReader } from './row-checks.ts';
import { type Check, checkNames, intervalOf, isRowCheck, type Severity, severityOf } from './severity.ts';

/** Rows of features, a column for each. */
export type FeatureBatch = {
  readonly count: number;
  readonly columns: Columns;
  /** Of each row's newest event. */
  readonly eventTimeUs: Float64Array;
  /** Says which row it is, for people. */
  readonly name: (row: number) => string;
};

export type FeatureOutcome = IntervalOutcome & {
  readonly expectation: string;
  readonly check: string;
  readonly severity: Severity;
};

/** Takes rows, and says what they are like. */
export interface FeatureMeasure {
  add(batch: FeatureBatch): void;
  readonly rows: number;
  /** `previousRows`: of the interval before, for volume. */
  outcome(endUs: number, previousRows?: number): FeatureOutcome;
}

/** An expectation of features. */
export interface FeatureCheck {
  readonly name: string;
  readonly severity: Severity;
  readonly intervalUs: number;
  /** False of volume and freshness, which look at rows as they come. */
  readonly isOfValues: boolean;
  readonly looksAtRows: boolean;
  /** The features that it looks at. */
  readonly fields: readonly string[];
  measure(): FeatureMeasure;
}

const distinctMax = 1_000_000;
const sampleMax = 10_000;

/** The checks that `featureExpectationProblems` has passed; `fields` are the view's features that are no lists. */
export function compileFeatureChecks(
  given: readonly expectations.Expectation[],
  fields: readonly SourceField[],
): FeatureCheck[] {
  return given.flatMap((expectation) => {
    const { name, check } = expectation;
    if (check === undefined) return [];
    const severity = severityOf(expectation.severity, 'warn');
    const make = isRowCheck(check) ? rowMeasure(expectation, fields) : setMeasure(check);
    const about = { expectation: name, check: checkNames[check.$case], severity };
    return [
      {
        name,
        severity,
        intervalUs: intervalOf(expectation),
        isOfValues: check.$case !== 'volume' && check.$case !== 'freshness',
        looksAtRows: isRowCheck(check),
        fields: fieldsOf(check, fields),
        measure: () => {
          const { add, outcome } = make();
          let rows = 0;
          return {
            add(batch) {
              rows += batch.count;
              add(batch);
            },
            get rows() {
              return rows;
            },
            outcome: (endUs, previousRows = 0) => ({ ...about, ...outcome({ rows, previousRows }, endUs) }),
          };
        },
      },
    ];
  });
}

function fieldsOf(check: Check, fields: readonly SourceField[]): readonly string[] {
  if (check.$case === 'condition') return fieldsOfCondition(check.value.cel, fields);
  return 'field' in check.value ? [check.value.field] : [];
}

type Taker = {
  readonly add: (batch: FeatureBatch) => void;
  readonly outcome: (
    counts: Pick<Measured, 'previousRows'> & { readonly rows: number },
    endUs: number,
  ) => IntervalOutcome;
};

function rowMeasure(expectation: expectations.Expectation, fields: readonly SourceField[]): () => Taker {
  const bind = compileRowChecks({ expectations: [expectation] }, fields).checks[0]?.bind;
  return () => {
    let failed = 0;
    let first = '';
    return {
      add({ columns, count, name }) {
        const failure = bind?.(columns);
        for (let row = 0; row < count; row++) {
          const found = failure?.(row);
          if (!found) continue;
          if (failed === 0) first = `${name(row)}: ${found.message.replace(/^field "/, 'feature "')}`;
          failed++;
        }
      },
      outcome({ rows }) {
        const bound = 'no row fails';
        if (rows === 0) return { outcome: 'NO_DATA', bound, rows, message: 'no row was written in the interval' };
        if (failed === 0) return { outcome: 'PASS', observed: 0, bound, rows, message: `${rows} rows, none fails` };
        return {
          outcome: 'FAIL',
          observed: failed,
          bound,
          rows,
          message: `${failed} of ${rows} rows fail, first ${first}`,
        };
      },
    };
  };
}

function setMeasure(check: Check): () => Taker {
  return () => {
    const taker = takerOf(check);
    let newestUs: number | undefined;
    return {
      add(batch) {
        for (const timeUs of batch.eventTimeUs) if (newestUs === undefined || timeUs > newestUs) newestUs = timeUs;
        taker.add(batch);
      },
      outcome: (counts, endUs) =>
        taker.tooMuch?.() ??
        intervalOutcome(check, { ...counts, newestUs, ...taker.measured() }, endUs, 'row was written'),
    };
  };
}

type SetTaker = {
  add(batch: FeatureBatch): void;
  measured(): Partial<Measured>;
  tooMuch?(): IntervalOutcome | undefined;
};

function takerOf(check: Check): SetTaker {
  switch (check.$case) {
    case 'completeness':
    case 'distinctness':
      return sharesOf(check.value.field, check.$case === 'distinctness');
    case 'distribution':
      return check.value.values.length > 0 ? sampleOf(check.value.field) : binsOf(check.value);
    default:
      return { add: () => {}, measured: () => ({}) };
  }
}

function sharesOf(field: string, wantsDistinct: boolean): SetTaker {
  const seen = new Set<string>();
  let values = 0;
  return {
    add({ columns, count }) {
      const column = columns.get(field);
      if (!column) return;
      const text = textReader(column);
      for (let row = 0; row < count; row++) {
        if (column.nulls?.[row] === 1) continue;
        values++;
        if (wantsDistinct && seen.size <= distinctMax) seen.add(text(row));
      }
    },
    measured: () => ({ values, distinct: seen.size }),
    tooMuch: () =>
      seen.size <= distinctMax
        ? undefined
        : {
            outcome: 'INSUFFICIENT_DATA',
            bound: '',
            rows: values,
            message: `more than ${distinctMax} distinct values, the limit; take a shorter interval`,
          },
  };
}

/** Bin i holds edge i − 1 ≤ value < edge i; categories are followed by everything else. */
function binsOf({ field, edges, categories }: expectations.Distribution): SetTaker {
  const isNumeric = edges.length > 0;
  const counts = new Array<number>(Math.max(edges.length, categories.length) + 1).fill(0);
  const binOfText = new Map(categories.map((category, bin) => [category, bin]));
  return {
    add({ columns, count }) {
      const column = columns.get(field);
      if (!column) return;
      const text = textReader(column);
      for (let row = 0; row < count; row++) {
        if (column.nulls?.[row] === 1) continue;
        const bin = isNumeric
          ? edges.filter((edge) => Number(column.values[row]) >= edge).length
          : (binOfText.get(text(row)) ?? categories.length);
        counts[bin] = (counts[bin] ?? 0) + 1;
      }
    },
    measured: () => ({ binCounts: counts }),
  };
}

/** At most 10,000 of the values, each as likely as any other. */
function sampleOf(field: string): SetTaker {
  const sample: number[] = [];
  let seen = 0;
  return {
    add({ columns, count }) {
      const column = columns.get(field);
      if (!column) return;
      for (let row = 0; row < count; row++) {
        if (column.nulls?.[row] === 1) continue;
        const at = seen < sampleMax ? seen : Math.floor(Math.random() * (seen + 1));
        seen++;
        if (at < sampleMax) sample[at] = Number(column.values[row]);
      }
    },
    measured: () => ({ sample }),
  };
}
