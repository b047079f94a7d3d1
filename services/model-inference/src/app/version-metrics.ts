import type { Labels, Metrics, Reading } from '@millrace/runtime';
import type { ModelBook } from './model-book.ts';
import { failureReasons, protocols, type VersionMeter, type VersionMeters } from './version-meters.ts';

type Read = (meter: VersionMeter, labels: Labels) => Iterable<Reading>;

/**
 * What versions of models did, for Prometheus, in two families of names: ours, of histograms, and Triton's `nv_inference_*` and `nv_cache_*`
 * (server/docs/user_guide/metrics.md of Triton 2.x), with the labels that its dashboards ask for. Only versions that are loaded have series.
 */
export function registerVersionMetrics(metrics: Metrics, meters: VersionMeters, book: Pick<ModelBook, 'all'>): void {
  const family = (name: string, help: string, type: 'counter' | 'histogram', read: Read) =>
    metrics.family(name, help, type, function* () {
      for (const { model, version, meter } of meters.each()) yield* read(meter, { model, version });
    });
  const one =
    (value: (meter: VersionMeter) => Reading['value']): Read =>
    (meter, labels) => [{ labels, value: value(meter) }];

  family('millrace_inference_request_seconds', 'requests that were answered', 'histogram', (meter, labels) =>
    protocols.map((protocol) => ({ labels: { ...labels, protocol }, value: meter.requestSeconds[protocol] })),
  );
  family(
    'millrace_inference_queue_seconds',
    'how long a request waited to run',
    'histogram',
    one((of) => of.queueSeconds),
  );
  family(
    'millrace_inference_run_seconds',
    'a run, with the way to the worker and back',
    'histogram',
    one((of) => of.runSeconds),
  );
  family(
    'millrace_inference_batch_rows',
    'rows of a run',
    'histogram',
    one((of) => of.batchRows),
  );

  const counter = (name: string, help: string, value: (meter: VersionMeter) => number) =>
    family(name, help, 'counter', one(value));
  counter(
    'nv_inference_request_success',
    'Number of successful inference requests, all batch sizes',
    (of) => of.successes,
  );
  family(
    'nv_inference_request_failure',
    'Number of failed inference requests, all batch sizes',
    'counter',
    (of, labels) => failureReasons.map((reason) => ({ labels: { ...labels, reason }, value: of.failures[reason] })),
  );
  counter(
    'nv_inference_count',
    'Number of inferences performed (does not include cached requests)',
    (of) => of.inferences,
  );
  counter(
    'nv_inference_exec_count',
    'Number of model executions performed (does not include cached requests)',
    (of) => of.executions,
  );
  for (const [stage, what] of durations)
    counter(`nv_inference_${stage}_duration_us`, `Cumulative inference ${what} duration in microseconds`, (of) =>
      Math.round(of.ms[fieldOf[stage]] * 1000),
    );
  counter('nv_cache_num_hits_per_model', 'Number of cache hits per model', (of) => of.cache.hits);
  counter('nv_cache_num_misses_per_model', 'Number of cache misses per model', (of) => of.cache.misses);
  metrics.family(
    'nv_inference_pending_request_count',
    'Instantaneous number of pending requests awaiting execution per-model.',
    'gauge',
    () =>
      book
        .all()
        .flatMap(({ name, version, state }) =>
          state.t === 'ready' ? [{ labels: { model: name, version }, value: state.loaded.waiting?.() ?? 0 }] : [],
        ),
  );
}

const durations = [
  ['request', 'request'],
  ['queue', 'queuing'],
  ['compute_input', 'compute input'],
  ['compute_infer', 'compute inference'],
  ['compute_output', 'inference compute output'],
] as const;

const fieldOf = {
  request: 'request',
  queue: 'queue',
  compute_input: 'input',
  compute_infer: 'infer',
  compute_output: 'output',
} as const;
