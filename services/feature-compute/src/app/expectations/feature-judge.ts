import type { ViewDefinition } from '@millrace/features';
import { type Clock, sleep, toMeshError } from '@millrace/kernel';
import { createAlertPace, type Telemetry } from '@millrace/runtime';
import type { FeatureCheck, FeatureMeasure, FeatureOutcome } from '@millrace/sources';
import type { ViewChecks, ViewChecksOf } from './view-checks.ts';

export type FeatureResult = FeatureOutcome & {
  readonly view: string;
  readonly version: string;
  readonly startUs: number;
  readonly endUs: number;
};

/** Results, kept for 30 days. */
export type FeatureResultBook = {
  add(results: readonly FeatureResult[]): Promise<void>;
  list(filter: {
    readonly view: string;
    readonly expectation: string;
    readonly limit: number;
    readonly latest: boolean;
  }): Promise<FeatureResult[]>;
};

export type FeatureAlert = {
  readonly dedupKey: string;
  readonly occurrences: number;
  readonly raisedUs: number;
  readonly result: FeatureResult;
};

export type FeatureJudge = {
  /** Takes the rows of a ready view that are about to be written. */
  see(definition: ViewDefinition, rows: readonly { readonly key: string; readonly row: Buffer }[]): void;
  /** Records results that do not come of an interval; raises alerts. */
  tell(results: readonly FeatureResult[]): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
};

type Interval = {
  readonly checks: ViewChecks;
  readonly check: FeatureCheck;
  readonly startUs: number;
  readonly measure: FeatureMeasure;
};

const lookEveryMs = 500;
/** Results that ClickHouse did not take wait; beyond this the oldest are let go. */
const waitingMax = 10_000;

/** Judges every expectation of features over aligned intervals of the clock: what is seen are the rows that were written in them. */
export function createFeatureJudge(deps: {
  readonly checksOf: ViewChecksOf;
  /** The view versions that are served. */
  readonly ready: () => Iterable<ViewDefinition>;
  readonly book: FeatureResultBook;
  readonly alert: (alert: FeatureAlert) => Promise<void>;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
}): FeatureJudge {
  const { clock, telemetry } = deps;
  const startedUs = clock.nowUs();
  const open = new Map<string, Interval>();
  const rowsBefore = new Map<string, number>();
  const pace = createAlertPace(deps);
  let done: FeatureResult[] = [];

  /** The interval that now is in; one that has ended is judged. */
  function intervalOf(checks: ViewChecks, check: FeatureCheck): Interval {
    const key = `${checks.view}\n${check.name}`;
    const startUs = Math.floor(clock.nowUs() / check.intervalUs) * check.intervalUs;
    const found = open.get(key);
    const isSame = found?.checks === checks;
    if (found && isSame && found.startUs === startUs) return found;
    // what changed in its course is begun anew: its results would be of two expectations
    if (found && isSame) judge(key, found, startUs);
    const next = { checks, check, startUs, measure: check.measure() };
    open.set(key, next);
    return next;
  }

  function judge(key: string, interval: Interval, untilUs: number): void {
    const { checks, check } = interval;
    const about = { view: checks.view, version: checks.version };
    const partly = interval.startUs < startedUs;
    let outcome = interval.measure.outcome(interval.startUs + check.intervalUs, rowsBefore.get(key));
    if (partly && !(check.looksAtRows && outcome.outcome === 'FAIL'))
      outcome = { ...outcome, outcome: 'INSUFFICIENT_DATA', message: 'compute started within the interval' };
    done.push({ ...about, startUs: interval.startUs, endUs: interval.startUs + check.intervalUs, ...outcome });
    rowsBefore.set(key, interval.measure.rows);
    // intervals without a single look lie between
    for (let startUs = interval.startUs + check.intervalUs; startUs < untilUs; startUs += check.intervalUs) {
      if (done.length > waitingMax) break;
      const endUs = startUs + check.intervalUs;
      done.push({ ...about, startUs, endUs, ...check.measure().outcome(endUs, rowsBefore.get(key)) });
      rowsBefore.set(key, 0);
    }
  }

  async function record(): Promise<void> {
    if (done.length === 0) return;
    const results = done;
    done = [];
    try {
      await deps.book.add(results);
    } catch (thrown) {
      done = [...results, ...done].slice(-waitingMax);
      throw thrown;
    }
    for (const result of results) await raise(result);
  }

  async function raise(result: FeatureResult): Promise<void> {
    const isAbsent = result.outcome === 'NO_DATA' && result.bound !== 'no row fails';
    if (result.outcome !== 'FAIL' && !isAbsent) return;
    const dedupKey = `feature_expectation/${result.view}/${result.expectation}/${result.outcome}`;
    await pace.raise(dedupKey, 1, (occurrences, raisedUs) => deps.alert({ dedupKey, occurrences, raisedUs, result }));
  }

  return {
    see(definition, rows) {
      const checks = deps.checksOf(definition);
      if (checks === undefined || rows.length === 0) return;
      try {
        const batch = checks.batchOfRows(rows);
        for (const check of checks.checks) intervalOf(checks, check).measure.add(batch);
      } catch (thrown) {
        // a row that cannot be looked at is written all the same
        telemetry.log.error({ event: 'rows_not_judged', view: checks.view, error: toMeshError(thrown).message });
      }
    },
    async tell(results) {
      done.push(...results);
      await record();
    },
    async run(signal) {
      while (!signal.aborted) {
        const seen = new Set<string>();
        for (const definition of deps.ready()) {
          const checks = deps.checksOf(definition);
          for (const check of checks?.checks ?? []) {
            if (checks) intervalOf(checks, check);
            seen.add(`${definition.name}\n${check.name}`);
          }
        }
        for (const key of open.keys()) if (!seen.has(key)) open.delete(key);
        await record().catch((thrown) => {
          telemetry.log.warn({ event: 'feature_results_not_kept', error: toMeshError(thrown).message });
        });
        await sleep(lookEveryMs, signal);
      }
    },
  };
}
