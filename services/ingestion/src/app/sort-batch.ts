import { operations } from '@millrace/events';
import { MeshError } from '@millrace/kernel';
import { type Problem, problem } from '../domain/problem.ts';
import type { RawEvent } from '../domain/raw-event.ts';
import type { Failure, RowGate } from '../domain/row-gate.ts';
import type { RowBuilder, TimeLimits } from '../domain/source-validator.ts';
import type { Note } from '../domain/treatments.ts';
import type { RejectedEvent, Warning } from './batch-outcome.ts';
import type { Change, IdBook, Ticket } from './id-book.ts';
import type { Intake } from './intakes.ts';

export type Sorted = {
  readonly rows: RowBuilder;
  readonly outcomes: readonly ('accepted' | 'duplicate' | Problem)[];
  readonly rejected: readonly RejectedEvent[];
  readonly warnings: ReadonlyMap<string, Warning>;
  readonly notes: readonly Note[];
};

export type SortOptions = {
  readonly limits: TimeLimits;
  /** What an expectation of severity BLOCK does. */
  readonly onBlock: 'refuse' | 'quarantine';
  readonly onRefusal: (expectation: string) => void;
  /** While the source is blocked: what every event is set aside for that is in order and was not accepted before. */
  readonly shut?: Problem | undefined;
};

const blockedShown = 5;

/**
 * The synchronous part of accepting a batch: every event is accepted, a duplicate or rejected when it returns. Throws
 * EXPECTATION_FAILED when the whole batch is refused; then no id is taken.
 */
export function sortBatch(
  { validator, openGate, carry }: Intake,
  ids: IdBook,
  ticket: Ticket,
  events: readonly RawEvent[],
  { limits, onBlock, onRefusal, shut }: SortOptions,
): Sorted {
  const { source } = validator;
  const rows = validator.open(events.length);
  const gate = openGate?.(rows);
  const outcomes: ('accepted' | 'duplicate' | Problem)[] = [];
  const rejected: RejectedEvent[] = [];
  const warnings = new Map<string, Warning>();
  const notes: Note[] = [];
  const blocked: Blocked[] = [];
  const undo: (() => void)[] = [];
  const reject = (event: RawEvent, why: Problem) => {
    outcomes.push(why);
    rejected.push({ source, sourceVersion: validator.version, event, id: rows.id, why });
  };
  for (let index = 0; index < events.length; index++) {
    const event = events[index] as RawEvent;
    const wrong = rows.read(event, limits);
    if (wrong !== null) {
      reject(event, wrong);
      continue;
    }
    const failures = (rows.isDelete ? undefined : gate?.check()) ?? nothing;
    const worst = failures.length === 0 ? undefined : worstOf(failures);
    // what was accepted before stays a duplicate, whatever is expected now
    if (worst !== undefined && ids.status(source, rows.id, changeOf(rows, event)) !== 'duplicate') {
      if (worst.severity === 'block' && onBlock === 'refuse') blocked.push({ index, id: rows.id, failure: worst });
      reject(event, worst.problem);
      continue;
    }
    if (shut !== undefined && ids.status(source, rows.id, changeOf(rows, event)) !== 'duplicate') {
      reject(event, shut);
      continue;
    }
    const changed = validator.isCorrectable ? ids.change(source, rows.id, changeOf(rows, event), ticket) : undefined;
    if (changed !== undefined) undo.push(changed.undo);
    const outcome = changed?.outcome ?? ids.claim(source, rows.id, rows.hash.lo, rows.hash.hi, ticket);
    switch (outcome) {
      case 'new':
      case 'replaces':
        if (!rows.isDelete) gate?.keep();
        if (carry && !rows.isDelete) undo.push(...carry(rows));
        if (failures.length + rows.notes.length > 0) {
          notes.push(...rows.notes);
          warn(warnings, failures, rows.notes);
        }
        rows.keep(changed && { operation: operationOf(rows, outcome), sequence: changed.sequence });
        outcomes.push('accepted');
        break;
      case 'duplicate':
        outcomes.push('duplicate');
        break;
      case 'conflict':
        reject(event, idConflict(source, rows.id));
        break;
    }
  }
  if (blocked.length > 0) {
    gate?.rollBack();
    while (undo.length > 0) undo.pop()?.();
    if (!validator.isCorrectable) for (const id of rows.ids) ids.release(source, id, ticket);
    for (const { failure } of blocked) onRefusal(failure.expectation);
    throw refusal(source, events.length, blocked);
  }
  return { rows, outcomes, rejected, warnings, notes };
}

function changeOf({ hash }: RowBuilder, { sequence = 0n }: RawEvent): Change {
  return { lo: hash.lo, hi: hash.hi, sequence };
}

function operationOf({ isDelete }: RowBuilder, outcome: 'new' | 'replaces'): number {
  if (isDelete) return operations.remove;
  return outcome === 'new' ? operations.insert : operations.replace;
}

const nothing: ReturnType<RowGate['check']> = [];

type Blocked = { readonly index: number; readonly id: string; readonly failure: Failure };

/** The first of the hardest; undefined when all only warn. */
function worstOf(failures: readonly Failure[]): Failure | undefined {
  return (
    failures.find(({ severity }) => severity === 'block') ?? failures.find(({ severity }) => severity === 'quarantine')
  );
}

function warn(warnings: Map<string, Warning>, failures: readonly Failure[], notes: readonly Note[]): void {
  const add = (expectation: string, message: string) => {
    const known = warnings.get(expectation);
    warnings.set(expectation, { expectation, events: (known?.events ?? 0) + 1, message: known?.message ?? message });
  };
  for (const { expectation, severity, problem: why } of failures) {
    if (severity === 'warn') add(expectation, why.message);
  }
  for (const { field, kind, message } of notes) if (kind === 'outlier_flag') add(`outliers.${field}`, message);
}

function refusal(source: string, events: number, blocked: readonly Blocked[]): MeshError {
  const shown = blocked
    .slice(0, blockedShown)
    .map(({ index, id, failure }) => `event ${index} (id "${id}"): ${failure.problem.message}`);
  const more = blocked.length > blockedShown ? `\n… and ${blocked.length - blockedShown} more` : '';
  const [first] = blocked;
  return new MeshError(
    'EXPECTATION_FAILED',
    `the batch of ${events} events for source "${source}" is refused, nothing of it was accepted: ${blocked.length} fail an expectation that blocks:\n${shown.join('\n')}${more}\ncorrect them and send the batch again`,
    {
      source,
      events,
      failed: blocked.length,
      expectation: first?.failure.expectation ?? '',
      field: first?.failure.problem.field ?? '',
    },
  );
}

function idConflict(source: string, id: string): Problem {
  return problem(
    'ID_CONFLICT',
    'id',
    `event id "${id}" of source "${source}" was accepted before with another payload; give a corrected event a new id, or define the source with changes: upsert, where it takes the place of the one before`,
  );
}
