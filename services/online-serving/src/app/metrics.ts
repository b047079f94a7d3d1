import { serving } from '@millrace/contracts';
import { type MeshError, toMeshError } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { AdmissionTelemetry } from './admission.ts';
import type { NearRowsOptions } from './near-rows.ts';
import type { ReadFeatures } from './read-features.ts';

/** Why a read of so many rows would not be admitted now. */
export type Full = (caller: string, rows: number) => MeshError | undefined;

/** Reads, and what refuses them before they are looked at. */
export type Reads = {
  readonly readFeatures: ReadFeatures;
  readonly full: Full;
};

/** The same use case, counted and timed. One histogram observation and one count a request, one count per status seen. */
export function measured(reads: Reads, telemetry: Telemetry): Reads {
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
  const failed = memoized((outcome) => ({ feature_service: '', outcome }));
  const statusNames = Object.entries(serving.ValueStatus) as [string, number][];
  const readFeatures: ReadFeatures = async (request, call) => {
    const startedMs = performance.now();
    try {
      const matrix = await reads.readFeatures(request, call);
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
      requests.inc(1, failed(toMeshError(thrown).reason));
      throw thrown;
    }
  };
  return {
    readFeatures,
    full(caller, rows) {
      const refusal = reads.full(caller, rows);
      if (refusal) requests.inc(1, failed(refusal.reason));
      return refusal;
    },
  };
}

/** What admission lets in and refuses. */
export function admissionTelemetry({ metrics }: Telemetry): AdmissionTelemetry {
  const refused = metrics.counter('millrace_serving_refused_total', 'reads refused by the limit that was reached', [
    'limit',
  ]);
  const rows = metrics.gauge('millrace_serving_in_flight_rows', 'rows being read');
  const limit = metrics.gauge('millrace_serving_in_flight_rows_limit', 'rows that may be read at once, as it is now');
  const labelOf = memoized((name) => ({ limit: name }));
  return {
    refused: (name) => refused.inc(1, labelOf(name)),
    state(inFlightRows, limitRows) {
      rows.set(inFlightRows);
      limit.set(limitRows);
    },
  };
}

/** How entities were read: from what was kept, with another's question, or from the store. */
export function nearTelemetry({ metrics }: Telemetry): Pick<NearRowsOptions, 'onOutcome'> {
  const entities = metrics.counter('millrace_serving_entities_total', 'entities read, by what answered', ['outcome']);
  const labelOf = memoized((outcome) => ({ outcome }));
  return {
    onOutcome(outcome, count) {
      if (count > 0) entities.inc(count, labelOf(outcome));
    },
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

/** Label objects are made once for each word: making them for each request costs more than counting. */
const labelsOf = memoized(
  (service): Labels => ({
    service: { feature_service: service },
    ok: { feature_service: service, outcome: 'OK' },
    status: memoized((status) => ({ feature_service: service, status })),
  }),
);

function memoized<T>(make: (word: string) => T): (word: string) => T {
  const known = new Map<string, T>();
  return (word) => {
    const value = known.get(word) ?? make(word);
    known.set(word, value);
    return value;
  };
}
