import type { expectations } from '@millrace/contracts';
import type { SourceField } from '@millrace/features';
import { type IntervalOutcome, intervalOutcome, type Measured } from './interval-outcome.ts';
import { type Columns, compileRowChecks, fieldsOfCondition } from './row-checks.ts';
import { setTakerOf } from './set-taker.ts';
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
    const taker = setTakerOf(check);
    let newestUs: number | undefined;
    return {
      add(batch) {
        for (const timeUs of batch.eventTimeUs) if (newestUs === undefined || timeUs > newestUs) newestUs = timeUs;
        const take = taker.bind(batch.columns);
        for (let row = 0; row < batch.count; row++) take(row);
      },
      outcome: (counts, endUs) =>
        taker.tooMuch?.() ??
        intervalOutcome(check, { ...counts, newestUs, ...taker.measured() }, endUs, 'row was written'),
    };
  };
}
