import type { Clock } from '@millrace/kernel';
import { type Problem, problem } from '../domain/problem.ts';
import type { RawEvent } from '../domain/raw-event.ts';
import { against, type SetMode, setProblem } from '../domain/set-gate.ts';
import type { IdBook } from './id-book.ts';
import type { Intake } from './intakes.ts';
import type { SourceBlocks } from './source-blocks.ts';

/** What would become of each event now, alone, or as a batch where `sets` says how one is looked at; nothing is taken or kept. */
export type Judge = (
  source: string,
  events: readonly RawEvent[],
  sets?: SetMode,
) => Promise<('accepted' | 'duplicate' | Problem)[]>;

export function createJudge(deps: {
  readonly intakes: { of(source: string): Promise<Intake> };
  readonly ids: IdBook;
  readonly blocks: Pick<SourceBlocks, 'problemOf'>;
  readonly clock: Clock;
}): Judge {
  const { intakes, ids, clock } = deps;
  return async (source, events, mode = { t: 'waived' }) => {
    const { validator, openGate, openSets } = await intakes.of(source);
    const limits = { nowUs: clock.nowUs(), frontierUs: ids.tally(source).frontierUs };
    const rows = validator.open(1);
    const gate = openGate?.(rows);
    const sets = mode.t === 'waived' ? undefined : openSets?.(rows);
    const shut = deps.blocks.problemOf(source);
    const outcomes = events.map((event): 'accepted' | 'duplicate' | Problem => {
      const wrong = rows.read(event, limits);
      if (wrong !== null) return wrong;
      const { lo, hi } = rows.hash;
      const status = ids.status(source, rows.id, { lo, hi, sequence: event.sequence ?? 0n });
      if (status === 'duplicate') {
        if (!rows.isDelete) sets?.take(true);
        return 'duplicate';
      }
      const failed = rows.isDelete ? undefined : gate?.check().find(({ severity }) => severity !== 'warn');
      if (failed !== undefined) return failed.problem;
      if (shut !== undefined) return shut;
      if (rows.isDelete) return 'accepted';
      if (status === 'new' || validator.isCorrectable) {
        sets?.take(!validator.isCorrectable);
        return 'accepted';
      }
      return problem('ID_CONFLICT', 'id', `event id "${rows.id}" was accepted before with another payload`);
    });
    const worst = sets && outcomes.includes('accepted') ? against(sets.verdicts(), mode) : undefined;
    if (worst === undefined) return outcomes;
    return outcomes.map((outcome) => (outcome === 'accepted' ? setProblem(worst, '') : outcome));
  };
}
