import { type Clock, sleep } from '@millrace/kernel';
import type { ActiveView } from '../engine.ts';
import type { StateStore } from '../state-store.ts';
import type { FeatureJudge, FeatureResult } from './feature-judge.ts';
import type { ViewChecks, ViewChecksOf } from './view-checks.ts';

/** Why a version that is filled cannot be switched to yet; empty when it can. */
export type VersionGate = (view: ActiveView, signal: AbortSignal) => Promise<string>;

const batchRows = 500;

/** Looks at every entity of a version: what is expected of its features and blocks must be met, and nothing is never a pass. */
export function createVersionGate(deps: {
  readonly checksOf: ViewChecksOf;
  readonly store: StateStore;
  readonly judge: FeatureJudge;
  readonly clock: Clock;
}): VersionGate {
  /** What was told of each version last: a version is looked at every few seconds. */
  const told = new Map<string, string>();
  return async (view, signal) => {
    const checks = deps.checksOf(view.record.definition);
    const blocking = checks?.checks.filter(({ severity, isOfValues }) => severity === 'block' && isOfValues) ?? [];
    if (checks === undefined || blocking.length === 0) return '';
    const measures = blocking.map((check) => check.measure());
    for await (const batch of batches(view, checks, signal)) for (const measure of measures) measure.add(batch);
    if (signal.aborted) return '';
    const endUs = deps.clock.nowUs();
    const about = { view: checks.view, version: checks.version, startUs: endUs, endUs };
    const results = measures.map((measure): FeatureResult => ({ ...measure.outcome(endUs), ...about }));
    const failed = results.filter(({ outcome }) => outcome !== 'PASS');
    if (failed.length === 0) {
      told.delete(view.id);
      await deps.judge.tell(results);
      return '';
    }
    const list = failed.map(({ expectation, outcome, message, bound }) => {
      const wanted = bound === '' || bound === 'no row fails' ? '' : ` (wanted: ${bound})`;
      return `"${expectation}" ${outcome === 'FAIL' ? 'is not met' : outcome}: ${message}${wanted}`;
    });
    const reason = list.join('; ');
    if (told.get(view.id) !== reason) await deps.judge.tell(results);
    told.set(view.id, reason);
    return `held back by what is expected of its features: ${reason}. It is looked at again as rows come; to let it through apply the expectation with severity warn`;
  };

  async function* batches(view: ActiveView, checks: ViewChecks, signal: AbortSignal) {
    const { cells } = view;
    const take = (cell: ReturnType<typeof cells.decode>) => {
      const { lastEventTimeUs, validFromUs } = cell.state;
      const asOfUs = Math.max(lastEventTimeUs + 1, validFromUs);
      const values = cells.view.valuesAt(cell.state, asOfUs);
      return { name: cell.key, values, asOfUs, eventTimeUs: lastEventTimeUs };
    };
    for (const shard of cells.shards) {
      const inMemory = [...shard.cells.values()];
      for (let from = 0; from < inMemory.length && !signal.aborted; from += batchRows) {
        yield checks.batch(inMemory.slice(from, from + batchRows).map(take));
        await sleep(0, signal);
      }
    }
    let after: string | undefined;
    while (!signal.aborted) {
      const found = deps.store.scan(view.id, after, batchRows);
      if (found.length === 0) return;
      after = found.at(-1)?.entityKey;
      const saved = found.filter(({ entityKey }) => !cells.inMemory(entityKey));
      yield checks.batch(saved.map(({ entityKey, bytes }) => take(cells.decode(entityKey, bytes))));
      await sleep(0, signal);
    }
  }
}
