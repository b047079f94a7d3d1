import type { expectations } from '@millrace/contracts';
import { type IntervalOutcome, intervalOutcome } from './interval-outcome.ts';
import { type Columns, textReader } from './row-checks.ts';
import { setTakerOf } from './set-taker.ts';
import { type Check, type Severity, scopeOf, severityOf } from './severity.ts';

/** With fewer rows a batch is not judged. A volume is about how many there are, so it judges any. */
const rowsMinDefault = 20;

/** What became of a check of a batch; PASS and FAIL alone are judgements. */
export type BatchVerdict = IntervalOutcome & { readonly expectation: string; readonly severity: Severity };

/** A check of the events that are handed in together. */
export type BatchCheck = {
  readonly name: string;
  readonly severity: Severity;
  /** `take` each row; then ask. */
  readonly open: (columns: Columns) => { take(row: number): void; verdict(): BatchVerdict };
  /** The field that is at fault in a row of a batch that failed; empty where none is. Asked row after row. */
  readonly atFault: (columns: Columns) => (row: number) => string;
};

/** The checks of batches among what `expectationProblems` has passed. */
export function compileBatchChecks(source: {
  readonly expectations: readonly expectations.Expectation[];
}): BatchCheck[] {
  return source.expectations.flatMap((expectation): BatchCheck[] => {
    const { name, check, perBatch } = expectation;
    if (check === undefined || scopeOf(expectation) !== 'batch') return [];
    const severity = severityOf(expectation.severity, 'warn');
    const rowsMin = perBatch?.minRows ?? (check.$case === 'volume' ? 1 : rowsMinDefault);
    return [
      {
        name,
        severity,
        open(columns) {
          const taker = setTakerOf(check);
          const add = taker.bind(columns);
          let rows = 0;
          return {
            take(row) {
              rows++;
              add(row);
            },
            verdict: () => ({
              expectation: name,
              severity,
              ...(rows > 0 && rows < rowsMin
                ? tooFew(rows, rowsMin)
                : intervalOutcome(check, { rows, ...taker.measured() }, 0)),
            }),
          };
        },
        atFault: (columns) => atFault(check, columns),
      },
    ];
  });
}

function tooFew(rows: number, rowsMin: number): IntervalOutcome {
  const message = `${rows} rows; a batch is judged from ${rowsMin} on`;
  return { outcome: 'INSUFFICIENT_DATA', bound: '', rows, message };
}

/** Where a value is wanting, the rows without one; where values are to differ, the rows that repeat one; else all. */
function atFault(check: Check, columns: Columns): (row: number) => string {
  const field = 'field' in check.value ? check.value.field : '';
  const column = columns.get(field);
  if (column === undefined) return () => '';
  const isNull = (row: number) => column.nulls?.[row] === 1;
  if (check.$case === 'completeness') return (row) => (isNull(row) ? field : '');
  if (check.$case !== 'distinctness') return () => field;
  const text = textReader(column);
  const seen = new Set<string>();
  return (row) => {
    if (isNull(row)) return '';
    const value = text(row);
    if (seen.has(value)) return field;
    seen.add(value);
    return '';
  };
}
