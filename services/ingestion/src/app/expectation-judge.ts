import type { expectations } from '@millrace/contracts';
import { type Clock, sleep, toMeshError } from '@millrace/kernel';
import { createAlertPace, type Telemetry } from '@millrace/runtime';
import {
  type Check,
  checkNames,
  type IntervalOutcome,
  intervalOf,
  intervalOutcome,
  type Measured,
  scopeOf,
} from '@millrace/sources';
import type { RowCount, RowTally } from '../domain/row-tally.ts';
import type { SourceDefinition } from '../domain/source-validator.ts';
import type { SourceBlock, SourceBlocks } from './source-blocks.ts';

export type ExpectationResult = IntervalOutcome & {
  readonly source: string;
  readonly sourceVersion: string;
  readonly expectation: string;
  readonly check: string;
  readonly startUs: number;
  readonly endUs: number;
};

export type ResultFilter = {
  readonly source: string;
  readonly expectation: string;
  readonly afterUs: number;
  readonly limit: number;
  readonly latest: boolean;
};

/** Results, kept for 30 days, and what history says of an interval of known time. */
export type ResultBook = {
  add(results: readonly ExpectationResult[]): Promise<void>;
  list(filter: ResultFilter): Promise<ExpectationResult[]>;
  /** The end of the last interval that was judged, by expectation. */
  judgedUntil(source: string): Promise<ReadonlyMap<string, number>>;
  measure(source: SourceDefinition, check: Check, startUs: number, endUs: number): Promise<Measured>;
};

export type ExpectationAlert = {
  readonly dedupKey: string;
  readonly occurrences: number;
  readonly raisedUs: number;
  readonly result: ExpectationResult;
  /** Where the expectation keeps its source's events out. */
  readonly block?: SourceBlock | undefined;
};

/** What an event may take from its acceptance to the stream. */
const settleUs = 2_000_000;
const lookEveryMs = 500;
/** After a long pause the latest intervals are judged, not every one. */
const intervalsBehindMax = 60;

/** Where the interval that now counts begins, of each check of rows or of batches, by expectation. */
export function intervalStarts(
  { spec }: Pick<SourceDefinition, 'spec'>,
  scope: 'row' | 'batch',
  nowUs: number,
): Map<string, number> {
  const starts = new Map<string, number>();
  for (const expectation of spec.expectations) {
    if (scopeOf(expectation) !== scope) continue;
    const intervalUs = intervalOf(expectation);
    starts.set(expectation.name, Math.floor(nowUs / intervalUs) * intervalUs);
  }
  return starts;
}

/**
 * Judges every expectation over aligned intervals of known time, once history has all of an interval; raises alerts. An interval is judged
 * once, also across restarts.
 */
export function createExpectationJudge(deps: {
  readonly book: ResultBook;
  readonly tally: RowTally;
  readonly sources: () => Iterable<SourceDefinition>;
  /** True when all that a source has accepted is in history. */
  readonly caughtUp: (source: string) => boolean;
  readonly blocks: Pick<SourceBlocks, 'consider' | 'redefined' | 'reconsider' | 'settle' | 'standing'>;
  readonly alert: (alert: ExpectationAlert) => Promise<void>;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}) {
  const { book, tally, clock, telemetry } = deps;
  const startedUs = clock.nowUs();
  const until = new Map<string, number>();
  const noticedUs = new Map<string, number>();
  const loaded = new Set<string>();
  const pace = createAlertPace(deps);

  async function judgeSource(source: SourceDefinition): Promise<void> {
    if (!loaded.has(source.name)) {
      for (const [name, endUs] of await book.judgedUntil(source.name)) until.set(keyOf(source, name), endUs);
      loaded.add(source.name);
    }
    for (const redefined of deps.blocks.redefined(source)) {
      const { block, expectation } = redefined;
      if (expectation.check === undefined) continue;
      const result = await judge(source, expectation, expectation.check, block.startUs, block.endUs);
      await deps.blocks.reconsider(redefined, result);
    }
    const nowUs = clock.nowUs();
    const results: ExpectationResult[] = [];
    for (const expectation of source.spec.expectations) {
      const { check, name } = expectation;
      if (check === undefined) continue;
      const intervalUs = intervalOf(expectation);
      const currentUs = Math.floor(nowUs / intervalUs) * intervalUs;
      // a new expectation begins with the interval that it came in
      const key = keyOf(source, name);
      const known = until.get(key) ?? Math.floor((noticedUs.get(key) ?? nowUs) / intervalUs) * intervalUs;
      until.set(key, known);
      let startUs = Math.max(Math.ceil(known / intervalUs) * intervalUs, currentUs - intervalsBehindMax * intervalUs);
      for (; startUs + intervalUs + settleUs <= nowUs && deps.caughtUp(source.name); startUs += intervalUs)
        results.push(await judge(source, expectation, check, startUs, startUs + intervalUs));
    }
    if (results.length === 0) return;
    // before the results: an interval whose result is kept is not judged again
    const blocks = new Map<ExpectationResult, SourceBlock>();
    for (const result of results) {
      const block = await deps.blocks.consider(source.spec, result);
      if (block !== undefined) blocks.set(result, block);
    }
    await book.add(results);
    for (const { expectation, endUs } of results) {
      until.set(keyOf(source, expectation), endUs);
      tally.forget(source.name, expectation, endUs);
    }
    const ofIntervals = new Set(
      source.spec.expectations.filter((each) => scopeOf(each) === 'interval').map((each) => each.name),
    );
    for (const result of results) await raise(result, ofIntervals.has(result.expectation), blocks.get(result));
  }

  async function judge(
    source: SourceDefinition,
    expectation: expectations.Expectation,
    check: Check,
    startUs: number,
    endUs: number,
  ): Promise<ExpectationResult> {
    const { name } = expectation;
    const scope = scopeOf(expectation);
    const outcome =
      scope === 'interval'
        ? intervalOutcome(check, await book.measure(source, check, startUs, endUs), endUs)
        : countOutcome(scope, tally.count(source.name, name, startUs), startUs < startedUs);
    const about = {
      source: source.name,
      sourceVersion: source.version,
      expectation: name,
      check: checkNames[check.$case],
    };
    return { ...about, startUs, endUs, ...outcome };
  }

  /** Events that fail are alerted on; their absence is the interval checks' matter, unless events are kept out. */
  async function raise(
    result: ExpectationResult,
    isOfInterval: boolean,
    block: SourceBlock | undefined,
  ): Promise<void> {
    if (block !== undefined) {
      const dedupKey = `source_blocked/${result.source}/${result.expectation}`;
      const send = (occurrences: number, raisedUs: number) =>
        deps.alert({ dedupKey, occurrences, raisedUs, result, block });
      // each block is told at once, however soon after the one before
      return pace.raise(`${dedupKey}/${block.blockedUs}`, 1, send);
    }
    const silent = !isOfInterval || deps.blocks.standing(result.source).length > 0;
    if (result.outcome !== 'FAIL' && (result.outcome !== 'NO_DATA' || silent)) return;
    const dedupKey = `expectation/${result.source}/${result.expectation}/${result.outcome}`;
    await pace.raise(dedupKey, 1, (occurrences, raisedUs) => deps.alert({ dedupKey, occurrences, raisedUs, result }));
  }

  return {
    /** Before the first event comes under a definition, so that none of its intervals is left out. */
    notice(sources: Iterable<SourceDefinition>): void {
      const nowUs = clock.nowUs();
      for (const source of sources)
        for (const { name } of source.spec.expectations)
          if (!noticedUs.has(keyOf(source, name))) noticedUs.set(keyOf(source, name), nowUs);
    },

    async run(signal: AbortSignal): Promise<void> {
      while (!signal.aborted) {
        await deps.blocks.settle().catch((thrown) => {
          telemetry.log.warn({ event: 'blocks_not_settled', error: toMeshError(thrown).message });
        });
        for (const source of deps.sources()) {
          if (source.spec.expectations.length === 0) continue;
          await judgeSource(source).catch((thrown) => {
            telemetry.log.warn({
              event: 'expectations_not_judged',
              source: source.name,
              error: toMeshError(thrown).message,
            });
          });
        }
        await sleep(lookEveryMs, signal);
      }
    },
  };
}

function keyOf({ name }: SourceDefinition, expectation: string): string {
  return `${name}\n${expectation}`;
}

/** Of checks of rows and of batches, which are counted as they come. */
function countOutcome(
  scope: 'row' | 'batch',
  { rows, failed, unjudged, lastFailure }: RowCount,
  partly: boolean,
): IntervalOutcome {
  const [one, many] = scope === 'row' ? ['event', 'events'] : ['batch', 'batches'];
  const bound = `no ${one} fails`;
  if (failed > 0) {
    const last = lastFailure === '' ? '' : `; the last: ${lastFailure}`;
    return { outcome: 'FAIL', observed: failed, bound, rows, message: `${failed} of ${rows} ${many} fail${last}` };
  }
  if (partly)
    return {
      outcome: 'INSUFFICIENT_DATA',
      bound,
      rows,
      message: 'ingestion started within the interval, its count is not whole',
    };
  const small = unjudged === 0 ? '' : `${unjudged} had too little to be judged`;
  if (rows > 0) {
    const message = `${rows} ${many}, none fails${small && `; ${small}`}`;
    return { outcome: 'PASS', observed: 0, bound, rows, message };
  }
  if (unjudged > 0) return { outcome: 'INSUFFICIENT_DATA', bound, rows, message: `of the ${many} that came, ${small}` };
  return { outcome: 'NO_DATA', bound, rows, message: `no ${one} came in the interval` };
}
