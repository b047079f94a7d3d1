import type { RowChecks, Severity, UniqueCheck } from '@millrace/sources';
import { type Problem, problem } from './problem.ts';
import type { RowBuilder } from './source-validator.ts';
import { type UniqueBook, uniqueKey } from './unique-book.ts';

/** An expectation that a row does not meet. */
export type Failure = { readonly expectation: string; readonly severity: Severity; readonly problem: Problem };

/** The expectations of one batch; `check` looks at the row that was just read. */
export type RowGate = {
  /** Everything that the row fails. */
  check(): readonly Failure[];
  /** The row counts: later ones must differ from it. */
  keep(): void;
  /** Takes the kept rows of the batch back. */
  rollBack(): void;
};

export type OpenGate = (rows: RowBuilder) => RowGate;

/** A source's checks of rows; undefined when it has none. */
export function compileGate(checks: RowChecks, bookOf: (unique: UniqueCheck) => UniqueBook): OpenGate | undefined {
  if (checks.checks.length + checks.uniques.length === 0) return undefined;
  const uniques = checks.uniques.map((unique) => ({ unique, book: bookOf(unique) }));
  return (rows) => {
    const columns = rows.live();
    const bound = checks.checks.map(({ name, severity, bind }) => ({ name, severity, find: bind(columns) }));
    const undo: (() => void)[] = [];
    const keyOf = ({ fields }: UniqueCheck) => uniqueKey(fields.map((field) => rows.scalar(field, rows.count)));
    return {
      check() {
        let failures: Failure[] | undefined;
        const fail = (name: string, severity: Severity, field: string, message: string) => {
          failures ??= [];
          failures.push({ expectation: name, severity, problem: failed(name, field, message) });
        };
        for (const { name, severity, find } of bound) {
          const found = find(rows.count);
          if (found !== null) fail(name, severity, found.field, found.message);
        }
        for (const { unique, book } of uniques) {
          const key = keyOf(unique);
          const other = key === null ? undefined : book.collision(key, rows.id, rows.timeUs);
          if (other === undefined) continue;
          const values = unique.fields
            .map((field) => `${field} = ${String(rows.scalar(field, rows.count))}`)
            .join(', ');
          const window = `${unique.windowUs / 1e6} s`;
          fail(
            unique.name,
            unique.severity,
            unique.fields.length === 1 ? (unique.fields[0] ?? '') : '',
            `event "${other.id}" has the same ${values} within ${window}; send it once, or correct one of them`,
          );
        }
        return failures ?? nothing;
      },
      keep() {
        for (const { unique, book } of uniques) {
          const key = keyOf(unique);
          if (key !== null) undo.push(book.add(key, rows.id, rows.timeUs));
        }
      },
      rollBack() {
        while (undo.length > 0) undo.pop()?.();
      },
    };
  };
}

const nothing: readonly Failure[] = [];

function failed(name: string, field: string, message: string): Problem {
  return problem('EXPECTATION_FAILED', field, `expectation "${name}": ${message}`, name);
}
