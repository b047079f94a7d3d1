import type { definitions, expectations } from '@millrace/contracts';
import { type Clock, contentVersion, MeshError } from '@millrace/kernel';
import type { Registered } from '@millrace/registry';
import type { Telemetry } from '@millrace/runtime';
import { closesSource, type IntervalOutcome } from '@millrace/sources';
import { type Problem, problem } from '../domain/problem.ts';
import type { AuditNote, AuditTrail } from './audit-trail.ts';

/** An expectation of an interval that was not met, and since when nothing of its source is accepted. */
export type SourceBlock = {
  readonly source: string;
  readonly expectation: string;
  readonly check: string;
  readonly observed?: number | undefined;
  readonly bound: string;
  readonly message: string;
  readonly startUs: number;
  readonly endUs: number;
  readonly blockedUs: number;
  /** 0 when an operator must resume the source. */
  readonly resumesUs: number;
  /** 0 while it stands. */
  readonly liftedUs: number;
  /** The form of the expectation that it was judged by. */
  readonly judgedBy?: string | undefined;
};

/** What became of an expectation over an interval. */
export type JudgedInterval = IntervalOutcome &
  Pick<SourceBlock, 'source' | 'expectation' | 'check' | 'startUs' | 'endUs'>;

/** The last block of each expectation, as every ingestion process sees it; lifted ones too. */
export type BlockStore = {
  of(source: string): Iterable<SourceBlock>;
  all(): Iterable<SourceBlock>;
  put(block: SourceBlock): Promise<void>;
};

/** By how much another process may know of a definition earlier: it may have blocked by one that is not known here yet. */
const definitionsSettleUs = 5_000_000;

export type SourceBlocks = ReturnType<typeof createSourceBlocks>;

/**
 * Which sources take nothing in, because an expectation of severity BLOCK failed over an interval. A block stands until an operator resumes the source, its
 * time is up, or its source's definition no longer has it. An interval that began before that does not block again.
 */
export function createSourceBlocks(deps: {
  readonly store: BlockStore;
  readonly sources: () => ReadonlyMap<string, Registered<definitions.Source>>;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly audit: AuditTrail;
  readonly gauge: (source: string, expectation: string, stands: boolean) => void;
}) {
  const { store, clock, telemetry } = deps;

  /** When it was lifted; 0 while it stands. */
  function liftedUs(block: SourceBlock): number {
    if (block.liftedUs > 0) return block.liftedUs;
    const nowUs = clock.nowUs();
    if (block.resumesUs > 0 && block.resumesUs <= nowUs) return block.resumesUs;
    if (nowUs - block.blockedUs < definitionsSettleUs) return 0;
    const spec = deps.sources().get(block.source)?.spec;
    return spec !== undefined && blocks(spec, block.expectation) ? 0 : nowUs;
  }

  function standing(source: string): SourceBlock[] {
    const found: SourceBlock[] = [];
    for (const block of store.of(source)) if (liftedUs(block) === 0) found.push(block);
    return found;
  }

  async function lift(block: SourceBlock, atUs: number, { by, reason }: Person): Promise<void> {
    const { source, expectation } = block;
    await store.put({ ...block, liftedUs: atUs });
    deps.gauge(source, expectation, false);
    telemetry.log.info({ event: 'source_resumed', source, expectation, by });
    await deps.audit(auditNote({ ...block, liftedUs: atUs }, 'resume', atUs, by, reason));
  }

  return {
    standing,

    /** Throws SOURCE_BLOCKED while the source is blocked. */
    assertOpen(source: string): void {
      const [block] = standing(source);
      if (block !== undefined) throw refusal(block);
    },

    /** Why an event of the source is set aside; undefined while it is not blocked. */
    problemOf(source: string): Problem | undefined {
      const [block] = standing(source);
      return block && problem('SOURCE_BLOCKED', '', textOf(block), block.expectation);
    },

    /** Blocks the source where the result is a failure of an expectation that blocks. Answers the block that stands after it. */
    async consider(spec: definitions.Source, result: JudgedInterval): Promise<SourceBlock | undefined> {
      const { source, expectation, outcome, startUs } = result;
      const known = [...store.of(source)].find((block) => block.expectation === expectation);
      const knownLiftedUs = known === undefined ? 0 : liftedUs(known);
      if (known !== undefined && knownLiftedUs === 0) return known;
      if (outcome !== 'FAIL' || startUs < knownLiftedUs || !blocks(spec, expectation)) return undefined;
      const blockedUs = clock.nowUs();
      const { resumeAfterUs = 0n } = spec.expectations.find(({ name }) => name === expectation) ?? {};
      const { check, observed, bound, message, endUs } = result;
      const resumesUs = resumeAfterUs === 0n ? 0 : blockedUs + Number(resumeAfterUs);
      const about = { source, expectation, check, observed, bound, message, startUs, endUs };
      const judgedBy = formOf(spec.expectations.find(({ name }) => name === expectation));
      const block: SourceBlock = { ...about, blockedUs, resumesUs, liftedUs: 0, judgedBy };
      await store.put(block);
      await deps.audit(auditNote(block, 'block', blockedUs, 'expectation', textOf(block)));
      telemetry.log.warn({ event: 'source_blocked', source, expectation, message: textOf(block) });
      return block;
    },

    /** Lifts what blocks the source, or the one block that is named; answers what was lifted. */
    async resume(source: string, expectation: string, person: Person): Promise<SourceBlock[]> {
      const wanted = standing(source).filter((block) => expectation === '' || block.expectation === expectation);
      for (const block of wanted) await lift(block, clock.nowUs(), person);
      return wanted;
    },

    /** Blocks that stand by an expectation which has another form now: the interval that failed is to be judged by that. */
    redefined({ spec, name }: Pick<Registered<definitions.Source>, 'spec' | 'name'>): Redefined[] {
      return standing(name).flatMap((block) => {
        const expectation = spec.expectations.find((each) => each.name === block.expectation);
        const isOther =
          expectation !== undefined && closesSource(expectation) && formOf(expectation) !== block.judgedBy;
        return isOther ? [{ block, expectation }] : [];
      });
    },

    /** Lifts a block whose interval meets the expectation as it is now; else it stands, by that one's bound. */
    async reconsider({ block, expectation }: Redefined, result: IntervalOutcome): Promise<void> {
      const judgedBy = formOf(expectation);
      const { outcome, bound, message, observed } = result;
      if (outcome === 'PASS') {
        const reason = `the interval that failed meets the changed expectation: ${message}, expected ${bound}`;
        return lift({ ...block, judgedBy }, clock.nowUs(), { by: 'definition', reason });
      }
      const { resumeAfterUs = 0n } = expectation;
      const resumesUs = resumeAfterUs === 0n ? 0 : block.blockedUs + Number(resumeAfterUs);
      const seen = outcome === 'FAIL' ? { bound, message, observed } : {};
      await store.put({ ...block, ...seen, resumesUs, judgedBy });
    },

    /** Writes down which blocks were lifted by themselves. */
    async settle(): Promise<void> {
      for (const block of [...store.all()]) {
        const atUs = liftedUs(block);
        deps.gauge(block.source, block.expectation, atUs === 0);
        if (atUs === 0 || block.liftedUs > 0) continue;
        const isTimeUp = block.resumesUs > 0 && block.resumesUs <= atUs;
        await lift(
          block,
          atUs,
          isTimeUp
            ? { by: 'resume_after', reason: 'the time that the expectation gives was up' }
            : { by: 'definition', reason: 'the source does not have an expectation that blocks any more' },
        );
      }
    },
  };
}

/** Who resumes a source, and why. */
export type Person = { readonly by: string; readonly reason: string };

type Redefined = { readonly block: SourceBlock; readonly expectation: expectations.Expectation };

function formOf(expectation: expectations.Expectation | undefined): string {
  if (expectation === undefined) return '';
  const { description: _, ...form } = expectation;
  return contentVersion(form);
}

/** Every process that notices writes the same entry, which is kept once. */
function auditNote(block: SourceBlock, action: string, atUs: number, by: string, reason: string): AuditNote {
  const { source, expectation, blockedUs, judgedBy: _, ...detail } = block;
  return {
    atUs,
    kind: 'source',
    name: source,
    action,
    by,
    reason,
    detail: { expectation, blockedUs, ...detail },
    onceKey: `audit/${action}/${source}/${expectation}/${blockedUs}`,
  };
}

function blocks(spec: definitions.Source, expectation: string): boolean {
  const found = spec.expectations.find(({ name }) => name === expectation);
  return found !== undefined && closesSource(found);
}

/** What is wrong and what to do. */
export function textOf({ source, expectation, startUs, endUs, message, bound, resumesUs }: SourceBlock): string {
  const by = resumesUs > 0 ? `, which happens by itself at ${timeText(resumesUs)}` : '';
  return (
    `intake of source "${source}" is blocked: expectation "${expectation}" failed from ${timeText(startUs)} to ${timeText(endUs)}: ` +
    `${message}, expected ${bound}; correct what sends the events, then resume the source${by}: millrace quality resume ${source}; or loosen the expectation: once it is applied, the interval is judged by it again`
  );
}

function refusal(block: SourceBlock): MeshError {
  const { source, expectation, check, observed, bound, startUs, endUs, blockedUs } = block;
  return new MeshError('SOURCE_BLOCKED', textOf(block), {
    source,
    expectation,
    check,
    observed: observed === undefined ? '' : String(observed),
    bound,
    startUs,
    endUs,
    blockedUs,
  });
}

function timeText(timeUs: number): string {
  return new Date(timeUs / 1000).toISOString();
}
