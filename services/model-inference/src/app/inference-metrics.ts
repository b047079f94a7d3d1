import type { Telemetry } from '@millrace/runtime';
import type { BookedModel, LoadedModel } from './model-book.ts';
import type { CacheUse } from './response-cache.ts';
import type { Shadowed } from './rollout-counts.ts';

const differenceBuckets = [0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];
const secondsBuckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

/** @param saturates whether weights of all eight bits may saturate on this processor */
export function createInferenceMetrics({ metrics, log }: Telemetry, saturates: boolean) {
  const predictions = metrics.counter('millrace_inference_predictions_total', 'predictions made', ['model']);
  const ready = metrics.gauge('millrace_inference_model_ready', '1 when a model version is loaded', [
    'model',
    'version',
  ]);
  function modelLoaded(model: string, version: string, { facts, batching }: LoadedModel): void {
    const { producer, producerVersion, irVersion, opsets, changes } = facts;
    const about = { producer, producerVersion, irVersion, opsets, changes };
    log.info({ event: 'model_loaded', model, version, ...about, batchRows: batching.rowsMax, batching: batching.why });
    if (facts.metadata['millrace.quantization'] === 'rowwise int8' && saturates)
      log.warn({ event: 'model_int8_saturates', model, version, remedy: 'quantize with --reduce-range: no VNNI here' });
    if (batching.unsafe) log.warn({ event: 'model_not_batched', model, version, reason: batching.unsafe });
  }
  const reads = metrics.counter('millrace_inference_feature_reads_total', 'calls for features, each a round trip');
  const fused = metrics.counter(
    'millrace_inference_fused_predictions_total',
    'requests whose features those calls read',
  );
  const readRows = metrics.counter('millrace_inference_feature_rows_total', 'rows of those calls');
  const cached = metrics.counter(
    'millrace_inference_cache_rows_total',
    'rows of models with a response cache: hit, shared with an equal row that was running, miss',
    ['model', 'use'],
  );
  const shadowCalls = metrics.counter(
    'millrace_inference_shadow_calls_total',
    'calls to shadows, by what became of them',
    ['deployment', 'outcome'],
  );
  const shadowRows = metrics.counter('millrace_inference_shadow_rows_total', 'rows scored by a shadow as well', [
    'deployment',
  ]);
  const differences = metrics.histogram(
    'millrace_inference_shadow_score_difference',
    'absolute difference of the scores of a shadow and of what answered',
    differenceBuckets,
    ['deployment'],
  );
  const shadowSeconds = metrics.histogram(
    'millrace_inference_shadow_seconds',
    'the same calls by the shadow and by what answered',
    secondsBuckets,
    ['deployment', 'arm'],
  );
  const refused = metrics.counter(
    'millrace_inference_refused_total',
    'ModelInfer requests that were refused before they were decoded: they would have been answered late',
    ['model'],
  );
  const sessions = metrics.gauge(
    'millrace_inference_sessions',
    'sessions that the workers hold: one for each version and worker, and those that are being released',
    [],
  );
  const exposed = metrics.counter(
    'millrace_inference_exposures_total',
    'units that went somewhere, in the exposure log',
  );
  const unexposed = metrics.counter(
    'millrace_inference_exposures_dropped_total',
    'units that are not in the exposure log, as too many waited for it',
  );
  return {
    exposed: (count: number) => exposed.inc(count),
    unexposed: (count: number) => unexposed.inc(count),
    sessionsOpen: (count: number) => sessions.set(count),
    refused: (model: string) => refused.inc(1, { model }),
    shadowed(deployment: string, outcome: Shadowed): void {
      shadowCalls.inc(1, { deployment, outcome: outcome.t });
      if (outcome.t !== 'paired') return;
      shadowRows.inc(outcome.pairs.length, { deployment });
      for (const { stable, canary } of outcome.pairs)
        if (Number.isFinite(stable - canary)) differences.observe(Math.abs(stable - canary), { deployment });
      shadowSeconds.observe(outcome.ms.canary / 1000, { deployment, arm: 'shadow' });
      shadowSeconds.observe(outcome.ms.stable / 1000, { deployment, arm: 'stable' });
    },
    cacheUsed(model: string, use: CacheUse): void {
      cached.inc(use.hits, { model, use: 'hit' });
      cached.inc(use.shared, { model, use: 'shared' });
      cached.inc(use.misses, { model, use: 'miss' });
    },
    featuresRead(requests: number, rows: number): void {
      reads.inc();
      fused.inc(requests);
      readRows.inc(rows);
    },
    predicted: (model: string, rows: number) => predictions.inc(rows, { model }),
    modelUnloaded({ name, version }: BookedModel): void {
      ready.set(0, { model: name, version });
      log.info({ event: 'model_unloaded', model: name, version });
    },
    modelChanged({ name, version, state }: BookedModel): void {
      ready.set(state.t === 'ready' ? 1 : 0, { model: name, version });
      if (state.t === 'failed')
        log.error({
          event: 'model_failed',
          model: name,
          version,
          reason: state.cause.reason,
          message: state.cause.message,
          ...goldenFailure(state.cause.metadata),
        });
      else if (state.t === 'ready') modelLoaded(name, version, state.loaded);
    },
  };
}

/** Where a golden check failed, for those who search logs. */
function goldenFailure({ request, output, element, expected, got }: Readonly<Record<string, string>>) {
  return output === undefined || request === undefined ? {} : { request, output, element, expected, got };
}
