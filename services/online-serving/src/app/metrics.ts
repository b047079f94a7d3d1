import { serving } from '@millrace/contracts';
import { toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { ReadFeatures } from './read-features.ts';

/** The same use case, counted and timed. One histogram observation and one count a request, one count per status seen. */
export function measured(readFeatures: ReadFeatures, telemetry: Telemetry): ReadFeatures {
  const { metrics } = telemetry;
  const latency = metrics.histogram(
    'millrace_serving_read_seconds',
    'time to read a feature service, from the decoded request to the answer',
    [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5],
    ['feature_service'],
  );
  const requests = metrics.counter('millrace_serving_requests_total', 'requests by outcome', [
    'feature_service',
    'outcome',
  ]);
  const values = metrics.counter('millrace_serving_values_total', 'values by status', ['feature_service', 'status']);
  const statusNames = Object.entries(serving.ValueStatus) as [string, number][];
  return async (request, call) => {
    const startedMs = performance.now();
    try {
      const matrix = await readFeatures(request, call);
      const labels = labelsOf(matrix.plan.name);
      latency.observe((performance.now() - startedMs) / 1000, labels.service);
      requests.inc(1, labels.ok);
      for (const [name, status] of statusNames) {
        const count = matrix.statusCounts[status] ?? 0;
        if (count > 0) values.inc(count, labels.status(name));
      }
      return matrix;
    } catch (thrown) {
      // an unknown service is the caller's word: it must not become a label
      requests.inc(1, { feature_service: '', outcome: toMeshError(thrown).reason });
      throw thrown;
    }
  };
}

/** Counts the streams that are open. */
export function openStreams({ metrics }: Telemetry): (change: 1 | -1) => void {
  const gauge = metrics.gauge('millrace_serving_streams', 'StreamFeatures calls that are open');
  let open = 0;
  return (change) => {
    open += change;
    gauge.set(open);
  };
}

type Labels = {
  readonly service: Record<string, string>;
  readonly ok: Record<string, string>;
  readonly status: (name: string) => Record<string, string>;
};

const known = new Map<string, Labels>();

/** Label objects are made once for each service: making them for each request costs more than counting. */
function labelsOf(service: string): Labels {
  let labels = known.get(service);
  if (!labels) {
    const statuses = new Map<string, Record<string, string>>();
    labels = {
      service: { feature_service: service },
      ok: { feature_service: service, outcome: 'OK' },
      status(name) {
        let label = statuses.get(name);
        if (!label) {
          label = { feature_service: service, status: name };
          statuses.set(name, label);
        }
        return label;
      },
    };
    known.set(service, labels);
  }
  return labels;
}
