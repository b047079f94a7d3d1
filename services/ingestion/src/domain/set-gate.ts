import { type BatchCheck, type BatchVerdict, compileBatchChecks } from '@millrace/sources';
import { type Problem, problem } from './problem.ts';
import type { RowBuilder, SourceDefinition } from './source-validator.ts';

/** The checks of one batch as a whole. */
export type SetGate = {
  /** The row that was just read is of the batch; one that repeats an event is counted once. */
  take(repeats: boolean): void;
  verdicts(): readonly BatchVerdict[];
  /** Which field of a kept row is at fault; asked row after row. */
  atFault(expectation: string): (row: number) => string;
};

export type OpenSetGate = (rows: RowBuilder) => SetGate;

/** How a batch is held against its checks: as it comes; again, after one of them has set it aside; or not any more, as somebody has looked at its events. */
export type SetMode =
  | { readonly t: 'asked' }
  | { readonly t: 'again'; readonly expectation: string }
  | { readonly t: 'waived' };

/** A source's checks of batches; undefined when it has none. */
export function compileSetGate({ spec }: Pick<SourceDefinition, 'spec'>): OpenSetGate | undefined {
  const checks = compileBatchChecks(spec);
  return checks.length === 0 ? undefined : (rows) => openSetGate(checks, rows);
}

function openSetGate(checks: readonly BatchCheck[], rows: RowBuilder): SetGate {
  const columns = rows.live();
  const open = checks.map((check) => check.open(columns));
  const seen = new Set<string>();
  return {
    take(repeats) {
      if (repeats && seen.has(rows.id)) return;
      seen.add(rows.id);
      for (const check of open) check.take(rows.count);
    },
    verdicts: () => open.map((check) => check.verdict()),
    atFault: (expectation) => checks.find(({ name }) => name === expectation)?.atFault(columns) ?? (() => ''),
  };
}

/** The check for which the batch is not accepted, the hardest first; undefined when it may be. */
export function against(verdicts: readonly BatchVerdict[], mode: SetMode): BatchVerdict | undefined {
  const failed = verdicts.filter(({ outcome }) => outcome === 'FAIL');
  return (
    failed.find(({ severity }) => severity === 'block') ??
    failed.find(({ severity }) => severity === 'quarantine') ??
    // what was set aside by a judgement is not let in for want of one
    verdicts.find(
      ({ expectation, outcome, severity }) =>
        mode.t === 'again' && expectation === mode.expectation && severity !== 'warn' && outcome !== 'PASS',
    )
  );
}

/** Why an event is set aside with its batch. */
export function setProblem({ expectation, outcome, message, bound }: BatchVerdict, field: string): Problem {
  const said =
    outcome === 'FAIL'
      ? `the batch does not meet it: ${message}, expected ${bound}`
      : `the rest of its batch cannot be judged any more: ${message}; name its events by id to let them in`;
  return problem('EXPECTATION_FAILED', field, `expectation "${expectation}": ${said}`, expectation);
}
