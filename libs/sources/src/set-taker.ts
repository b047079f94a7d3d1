import type { expectations } from '@millrace/contracts';
import type { IntervalOutcome, Measured } from './interval-outcome.ts';
import { type Columns, textReader } from './row-checks.ts';
import type { Check } from './severity.ts';

/** Takes rows one by one, and says what a check of many rows asks of them. */
export interface SetTaker {
  bind(columns: Columns): (row: number) => void;
  measured(): Partial<Measured>;
  /** Where there was more than it can take. */
  tooMuch?(): IntervalOutcome | undefined;
}

const distinctMax = 1_000_000;
/** As many values as a batch has events at most: of one batch none is left out. */
const sampleMax = 10_000;

export function setTakerOf(check: Check): SetTaker {
  switch (check.$case) {
    case 'completeness':
    case 'distinctness':
      return sharesOf(check.value.field, check.$case === 'distinctness');
    case 'distribution':
      return check.value.values.length > 0 ? sampleOf(check.value.field) : binsOf(check.value);
    case 'quantile':
      return sampleOf(check.value.field);
    default:
      return { bind: () => () => {}, measured: () => ({}) };
  }
}

function sharesOf(field: string, wantsDistinct: boolean): SetTaker {
  const seen = new Set<string>();
  let values = 0;
  return {
    bind: (columns) =>
      ofValues(columns, field, (column) => {
        const text = textReader(column);
        return (row) => {
          values++;
          if (wantsDistinct && seen.size <= distinctMax) seen.add(text(row));
        };
      }),
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
    bind: (columns) =>
      ofValues(columns, field, (column) => {
        const text = textReader(column);
        return (row) => {
          const bin = isNumeric
            ? edges.filter((edge) => Number(column.values[row]) >= edge).length
            : (binOfText.get(text(row)) ?? categories.length);
          counts[bin] = (counts[bin] ?? 0) + 1;
        };
      }),
    measured: () => ({ binCounts: counts }),
  };
}

/** At most 10,000 of the values, each as likely as any other. */
function sampleOf(field: string): SetTaker {
  const sample: number[] = [];
  let seen = 0;
  return {
    bind: (columns) =>
      ofValues(columns, field, (column) => (row) => {
        const at = seen < sampleMax ? seen : Math.floor(Math.random() * (seen + 1));
        seen++;
        if (at < sampleMax) sample[at] = Number(column.values[row]);
      }),
    measured: () => ({ sample }),
  };
}

type Column = NonNullable<ReturnType<Columns['get']>>;

/** What is done for each row that has a value. */
function ofValues(
  columns: Columns,
  field: string,
  taking: (column: Column) => (row: number) => void,
): (row: number) => void {
  const column = columns.get(field);
  if (!column) return () => {};
  const take = taking(column);
  return (row) => {
    if (column.nulls?.[row] !== 1) take(row);
  };
}
