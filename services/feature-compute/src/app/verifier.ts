import type { ViewDefinition } from '@millrace/features';
import { type Clock, sleep, toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import { viewId } from '../domain/view-record.ts';
import type { CompareSamples, ServedSample } from './compare-samples.ts';
import type { ComputeMetrics } from './compute-metrics.ts';
import type { RaiseMismatchAlert } from './mismatch-alerts.ts';
import type { Provenance, ReportMismatches } from './report-mismatches.ts';
import type { Settled } from './settled.ts';

/** Rows of one view that somebody read; their keys are in the view's order. */
export type ServedRows = {
  readonly view: ViewDefinition;
  readonly features: readonly string[];
  readonly samples: readonly (ServedSample & Provenance)[];
};

export type VerifierStatus = {
  readonly compared: number;
  readonly mismatched: number;
  readonly samplesWaiting: number;
  readonly samplesDropped: number;
  readonly lagUs: number;
};

/** Proves a sample of what was served, all day long. */
export type Verifier = {
  /** Takes served rows; never waits. When too many wait, each has the same chance to stay. */
  offer(rows: ServedRows): void;
  run(signal: AbortSignal): Promise<void>;
  status(): VerifierStatus;
};

type Waiting = {
  readonly view: ViewDefinition;
  readonly features: readonly string[];
  readonly sample: ServedSample & Provenance;
  readonly sinceUs: number;
};

const roundMs = 500;
const samplesPerRoundMax = 1_000;
const samplesPerRoundMin = 50;
/** A round takes fewer samples, or more again, so that ClickHouse is busy with it for about so long: what is live shares the machine with it. */
const busyMsWanted = 2_000;
/** Its share of the time of one thread of ClickHouse, and the longest pause that this may ask for. */
const share = 0.2;
const pauseMsMax = 15_000;
/** A sample whose position history does not reach in this time is let go: the stream or the table was wiped. */
const waitUsMax = 600_000_000;

export function createVerifier(deps: {
  readonly compare: CompareSamples;
  readonly settled: Settled;
  readonly report: ReportMismatches;
  readonly alert: RaiseMismatchAlert;
  readonly maxPosition: (source: string) => Promise<number>;
  readonly clock: Clock;
  readonly telemetry: Telemetry;
  readonly metrics: ComputeMetrics;
  readonly samplesWaitingMax: number;
}): Verifier {
  const { clock, metrics, samplesWaitingMax } = deps;
  let waiting: Waiting[] = [];
  /** Samples offered since the last round that took any. */
  let offered = 0;
  let compared = 0;
  let mismatched = 0;
  let samplesDropped = 0;
  let lagUs = 0;
  let perRound = samplesPerRoundMin;

  function drop(count: number): void {
    if (count === 0) return;
    samplesDropped += count;
    metrics.samplesDropped.inc(count);
  }

  /** Takes what history can prove by now out of what waits, one view version and feature list at a time. */
  async function due(): Promise<readonly (readonly Waiting[])[]> {
    const sources = [...new Set(waiting.map(({ view }) => view.source))];
    const reached = new Map<string, number>();
    for (const source of sources) reached.set(source, await deps.maxPosition(source));
    const groups = new Map<string, Waiting[]>();
    const rest: Waiting[] = [];
    const oldestUs = clock.nowUs() - waitUsMax;
    let taken = 0;
    for (const each of waiting) {
      const { view, features, sample } = each;
      if (sample.position > (reached.get(view.source) ?? 0) || taken >= perRound) {
        if (each.sinceUs < oldestUs) drop(1);
        else rest.push(each);
        continue;
      }
      taken++;
      const key = `${viewId(view.name, view.version)} ${features.join()}`;
      const group = groups.get(key);
      if (group) group.push(each);
      else groups.set(key, [each]);
    }
    waiting = rest;
    offered = rest.length;
    return [...groups.values()];
  }

  async function prove(group: readonly Waiting[]): Promise<void> {
    const [first] = group;
    if (first === undefined) return;
    const { view, features } = first;
    const samples = group.map(({ sample }) => sample);
    const verification = await deps.settled(view, samples, await deps.compare(view, features, samples));
    compared += verification.compared;
    mismatched += verification.mismatches.length;
    const nowUs = clock.nowUs();
    for (const { servedUs } of samples) metrics.paritySeconds.observe(Math.max(0, nowUs - servedUs) / 1e6);
    lagUs = nowUs - Math.max(...samples.map(({ servedUs }) => servedUs));
    const mismatches = await deps.report(view, samples, verification);
    await deps.alert(mismatches);
  }

  async function round(): Promise<void> {
    for (const group of waiting.length > 0 ? await due() : []) {
      try {
        await prove(group);
      } catch (thrown) {
        drop(group.length);
        const view = group[0]?.view.name;
        deps.telemetry.log.warn({ event: 'not_verified', view, error: toMeshError(thrown).message });
      }
    }
    metrics.samplesWaiting.set(waiting.length);
  }

  return {
    offer({ view, features, samples }) {
      const sinceUs = clock.nowUs();
      for (const sample of samples) {
        const each = { view, features, sample, sinceUs };
        offered++;
        if (waiting.length < samplesWaitingMax) {
          waiting.push(each);
          continue;
        }
        const at = Math.floor(Math.random() * offered);
        if (at < waiting.length) waiting[at] = each;
        drop(1);
      }
    },
    async run(signal) {
      while (!signal.aborted) {
        const startedMs = performance.now();
        await round().catch((thrown) => {
          deps.telemetry.log.warn({ event: 'verifier_waits', error: toMeshError(thrown).message });
        });
        const busyMs = performance.now() - startedMs;
        perRound = nextRound(perRound, busyMs);
        await sleep(Math.max(roundMs, Math.min(pauseMsMax, busyMs / share - busyMs)), signal);
      }
    },
    status: () => ({ compared, mismatched, samplesWaiting: waiting.length, samplesDropped, lagUs }),
  };
}

function nextRound(samples: number, busyMs: number): number {
  const wanted =
    busyMs > busyMsWanted ? samples * (busyMsWanted / busyMs) : busyMs < busyMsWanted / 2 ? 2 * samples : samples;
  return Math.round(Math.min(samplesPerRoundMax, Math.max(samplesPerRoundMin, wanted)));
}
