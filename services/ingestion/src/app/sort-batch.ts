import { operations } from '@millrace/events';
import { MeshError } from '@millrace/kernel';
import type { BatchVerdict } from '@millrace/sources';
import { type Problem, problem } from '../domain/problem.ts';
import type { RawEvent } from '../domain/raw-event.ts';
import type { Failure, RowGate } from '../domain/row-gate.ts';
import { against, type SetGate, type SetMode } from '../domain/set-gate.ts';
import type { RowBuilder, SourceValidator, TimeLimits } from '../domain/source-validator.ts';
import type { Note } from '../domain/treatments.ts';
import type { RejectedEvent, Warning } from './batch-outcome.ts';
import type { Change, IdBook, Ticket } from './id-book.ts';
import type { Intake } from './intakes.ts';
import { type Kept, setAside, setRefusal } from './set-aside.ts';

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
  /** What became of the checks of the batch as a whole. */
  readonly onVerdicts?: (verdicts: readonly BatchVerdict[]) => void;
  /** As it comes unless set. */
  readonly sets?: SetMode | undefined;
  /** While the source is blocked: what every event is set aside for that is in order and was not accepted before. */
  readonly shut?: Problem | undefined;
};

const blockedShown = 5;

/**
 * The synchronous part of accepting a batch: every event is accepted, a duplicate or rejected when it returns. Throws
 * EXPECTATION_FAILED when the whole batch is refused; then no id is taken.
 */
export function sortBatch(
  intake: Intake,
  ids: IdBook,
  ticket: Ticket,
  events: readonly RawEvent[],
  options: SortOptions,
): Sorted {
  const { validator } = intake;
  const rows = validator.open(events.length);
  const batch: SortingBatch = {
    rows,
    gate: intake.openGate?.(rows),
    sets: options.sets?.t === 'waived' ? undefined : intake.openSets?.(rows),
    outcomes: [],
    rejected: [],
    warnings: new Map(),
    notes: [],
    kept: [],
    blocked: [],
    undo: [],
  };
  for (let index = 0; index < events.length; index++)
    sortEvent(intake, ids, ticket, options, batch, index, events[index] as RawEvent);
  const giveBack = () => {
    batch.gate?.rollBack();
    while (batch.undo.length > 0) batch.undo.pop()?.();
    if (!validator.isCorrectable) for (const id of rows.ids) ids.release(validator.source, id, ticket);
  };
  if (batch.blocked.length > 0) {
    giveBack();
    for (const { failure } of batch.blocked) options.onRefusal(failure.expectation);
    throw refusal(validator.source, events.length, batch.blocked);
  }
  return judged(validator, batch, events.length, options, giveBack);
}

/** What the events were found to be, unless the batch fails as a whole. */
function judged(
  validator: SourceValidator,
  batch: SortingBatch,
  events: number,
  { onBlock, onVerdicts, sets: mode = { t: 'asked' } }: SortOptions,
  giveBack: () => void,
): Sorted {
  const { rows, sets, outcomes, rejected, warnings, notes } = batch;
  const sorted = () => ({ outcomes, rejected: rejected.filter((each) => each !== undefined) });
  // where nothing is new there is nothing to keep out
  const verdicts = sets === undefined || rows.count === 0 ? [] : sets.verdicts();
  if (verdicts.length > 0) onVerdicts?.(verdicts);
  const worst = against(verdicts, mode);
  if (sets === undefined || worst === undefined) {
    for (const { severity, outcome, expectation, message, rows: looked } of verdicts)
      if (outcome === 'FAIL' && severity === 'warn')
        warnings.set(expectation, { expectation, events: looked, message });
    return { rows, ...sorted(), warnings, notes };
  }
  const aside = setAside(validator, rows, sets, worst, batch.kept);
  giveBack();
  if (worst.severity === 'block' && onBlock === 'refuse') throw setRefusal(validator.source, events, worst);
  for (const { index, why, rejected: one } of aside) {
    outcomes[index] = why;
    rejected[index] = one;
  }
  return { rows: validator.open(0), ...sorted(), warnings: new Map(), notes: [] };
}

type SortingBatch = {
  readonly rows: RowBuilder;
  readonly gate: RowGate | undefined;
  readonly sets: SetGate | undefined;
  readonly outcomes: ('accepted' | 'duplicate' | Problem)[];
  /** By the event's place in the batch. */
  readonly rejected: (RejectedEvent | undefined)[];
  readonly warnings: Map<string, Warning>;
  readonly notes: Note[];
  /** Where the batch may be set aside as a whole. */
  readonly kept: Kept[];
  readonly blocked: Blocked[];
  readonly undo: (() => void)[];
};

function sortEvent(
  { validator, carry }: Intake,
  ids: IdBook,
  ticket: Ticket,
  { limits, onBlock, shut }: SortOptions,
  { rows, gate, sets, outcomes, rejected, warnings, notes, kept, blocked, undo }: SortingBatch,
  index: number,
  event: RawEvent,
): void {
  const { source } = validator;
  const reject = (why: Problem) => {
    outcomes.push(why);
    rejected[index] = { source, sourceVersion: validator.version, event, id: rows.id, why };
  };
  const wrong = rows.read(event, limits);
  if (wrong !== null) {
    reject(wrong);
    return;
  }
  const failures = (rows.isDelete ? undefined : gate?.check()) ?? nothing;
  const worst = failures.length === 0 ? undefined : worstOf(failures);
  // what was accepted before stays a duplicate, whatever is expected now
  const isNew = () => ids.status(source, rows.id, changeOf(rows, event)) !== 'duplicate';
  if (worst !== undefined && isNew()) {
    if (worst.severity === 'block' && onBlock === 'refuse') blocked.push({ index, id: rows.id, failure: worst });
    reject(worst.problem);
    return;
  }
  if (shut !== undefined && isNew()) {
    reject(shut);
    return;
  }
  const changed = validator.isCorrectable ? ids.change(source, rows.id, changeOf(rows, event), ticket) : undefined;
  if (changed !== undefined) undo.push(changed.undo);
  const outcome = changed?.outcome ?? ids.claim(source, rows.id, rows.hash.lo, rows.hash.hi, ticket);
  switch (outcome) {
    case 'new':
    case 'replaces':
      if (!rows.isDelete) {
        gate?.keep();
        sets?.take(false);
        if (carry) undo.push(...carry(rows));
      }
      if (failures.length + rows.notes.length > 0) {
        notes.push(...rows.notes);
        warn(warnings, failures, rows.notes);
      }
      if (sets !== undefined) kept.push({ index, event, id: rows.id, isDelete: rows.isDelete });
      rows.keep(changed && { operation: operationOf(rows, outcome), sequence: changed.sequence });
      outcomes.push('accepted');
      break;
    case 'duplicate':
      // a batch that is sent again is judged as it was
      if (!rows.isDelete) sets?.take(true);
      outcomes.push('duplicate');
      break;
    case 'conflict':
      reject(idConflict(source, rows.id));
      break;
  }
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
