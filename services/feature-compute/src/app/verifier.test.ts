import type { ViewDefinition } from '@millrace/features';
import { createSystemClock } from '@millrace/kernel';
import { quietTelemetry } from '@millrace/runtime';
import { eventually } from '@millrace/testkit';
import { afterEach, expect, test } from 'vitest';
import type { ServedSample } from './compare-samples.ts';
import { createComputeMetrics } from './compute-metrics.ts';
import { createMismatchAlerts, type MismatchAlert } from './mismatch-alerts.ts';
import { createReportMismatches, type MismatchBook, type ServedMismatch } from './report-mismatches.ts';
import { createVerifier } from './verifier.ts';

const view = { name: 'v', version: '1', source: 's', joinKeys: [{ name: 'k', type: 'INT64', field: 'k' }] };
const definition = view as unknown as ViewDefinition;
const clock = createSystemClock();
let stop = new AbortController();

afterEach(() => {
  stop.abort();
  stop = new AbortController();
});

/** Served values that are odd are wrong. */
function open(options: { readonly reached: () => number; readonly samplesWaitingMax?: number }) {
  const proved: ServedSample[] = [];
  const kept: ServedMismatch[] = [];
  const alerts: MismatchAlert[] = [];
  const telemetry = quietTelemetry();
  const metrics = createComputeMetrics(telemetry.metrics);
  const book: MismatchBook = { add: async (more) => void kept.push(...more), list: async () => kept };
  const verifier = createVerifier({
    compare: async (_view, features, samples) => {
      proved.push(...samples);
      const mismatches = samples.flatMap(({ served }, sample) =>
        Number(served[0]) % 2 === 0
          ? []
          : [{ sample, feature: features[0] ?? '', type: 'INT64' as const, served: served[0] ?? null, expected: 0 }],
      );
      return { compared: samples.length, mismatches };
    },
    settled: async (_view, _samples, verification) => verification,
    report: createReportMismatches({ book, clock, telemetry, metrics }),
    alert: createMismatchAlerts({ publish: async (alert) => void alerts.push(alert), clock, telemetry }),
    maxPosition: async () => options.reached(),
    clock,
    telemetry,
    metrics,
    samplesWaitingMax: options.samplesWaitingMax ?? 100,
  });
  return { verifier, proved, kept, alerts };
}

function rows(numbers: readonly number[], position: (n: number) => number = () => 1) {
  const servedUs = clock.nowUs();
  const samples = numbers.map((n) => ({
    keys: [n],
    asOfUs: n,
    position: position(n),
    served: [n],
    featureService: 'fs',
    servedUs,
  }));
  return { view: definition, features: ['f'], samples };
}

test('a sample waits until history holds its position', async () => {
  let reached = 5;
  const { verifier, proved } = open({ reached: () => reached });
  void verifier.run(stop.signal);
  verifier.offer(rows([4, 6, 8], (n) => n));
  await eventually(() => expect(proved.map(({ asOfUs }) => asOfUs)).toEqual([4]));
  expect(verifier.status()).toMatchObject({ compared: 1, samplesWaiting: 2, samplesDropped: 0 });
  reached = 9;
  await eventually(() => expect(verifier.status()).toMatchObject({ compared: 3, samplesWaiting: 0 }));
});

test('when too many wait, old and new have the same chance to stay, and those that go are counted', async () => {
  const { verifier, proved } = open({ reached: () => 1, samplesWaitingMax: 500 });
  for (let from = 0; from < 5_000; from += 100) verifier.offer(rows(Array.from({ length: 100 }, (_, i) => from + i)));
  expect(verifier.status()).toMatchObject({ samplesWaiting: 500, samplesDropped: 4_500 });
  void verifier.run(stop.signal);
  await eventually(() => expect(proved).toHaveLength(500));
  const early = proved.filter(({ asOfUs }) => asOfUs < 2_500).length;
  expect(early).toBeGreaterThan(180);
  expect(early).toBeLessThan(320);
});

test('mismatches are kept with all that is known of them, and each feature alerts once', async () => {
  const { verifier, kept, alerts } = open({ reached: () => 1 });
  void verifier.run(stop.signal);
  verifier.offer(rows([2, 3, 5]));
  await eventually(() => expect(kept).toHaveLength(2));
  verifier.offer(rows([7]));
  await eventually(() => expect(kept).toHaveLength(3));
  expect(kept[0]).toMatchObject({ view: 'v', feature: 'f', featureService: 'fs', served: 3, expected: 0, position: 1 });
  expect(kept[0]?.keys).toEqual(new Map([['k', '3']]));
  expect(alerts).toHaveLength(1);
  expect(alerts[0]).toMatchObject({ dedupKey: 'parity_mismatch/v@1/f', occurrences: 2 });
  expect(verifier.status()).toMatchObject({ compared: 4, mismatched: 3 });
});
