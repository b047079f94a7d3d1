import type { compute, inference } from '@millrace/contracts';
import { serving } from '@millrace/contracts';
import { type Flight, hourOf } from '@millrace/flights';
import type { Clients } from './clients.ts';

/** Compares what predictions were fed with what ClickHouse computes over history for the same instant and position. */
export interface ParityCheck {
  readonly compared: number;
  readonly mismatched: number;
  /** Takes every value of the predictions' rows; compares when enough have come together. */
  add(flights: readonly Flight[], response: inference.PredictResponse): void;
  /** Compares what is left and waits for all comparisons. */
  finish(): Promise<void>;
}

interface ViewSamples {
  readonly version: string;
  readonly features: readonly string[];
  readonly samples: compute.Sample[];
}

const samplesPerCall = 600;
const comparable: ReadonlySet<number> = new Set([serving.ValueStatus.PRESENT, serving.ValueStatus.NULL]);

export function createParityCheck(client: Clients['compute'], say: (text: string) => void): ParityCheck {
  const views = new Map<string, ViewSamples>();
  let compared = 0;
  let mismatched = 0;
  let verifying: Promise<void> = Promise.resolve();

  const verify = (view: string): void => {
    const group = views.get(view);
    views.delete(view);
    if (!group || group.samples.length === 0) return;
    verifying = verifying.then(async () => {
      const { version, features, samples } = group;
      const outcome = await client.verifySamples(
        { view, version, features: [...features], samples },
        { timeoutMs: 120_000 },
      );
      compared += Number(outcome.compared);
      mismatched += Number(outcome.mismatched);
      for (const miss of outcome.mismatches.slice(0, 5)) {
        const sample = samples[miss.sample];
        say(
          `parity: ${view}.${miss.feature} of ${JSON.stringify(Object.fromEntries(sample?.keys ?? []))} as of ${sample?.asOfUs} at position ${sample?.position}: served ${text(miss.served)}, history says ${text(miss.expected)}`,
        );
      }
    });
  };

  return {
    get compared() {
      return compared;
    },
    get mismatched() {
      return mismatched;
    },
    add(flights, response) {
      const columns = response.vectorNames.length;
      for (const [viewIndex, read] of response.views.entries()) {
        const indices = response.vectorNames.flatMap((name, index) =>
          name.startsWith(`${read.view}__`) ? [index] : [],
        );
        const features = indices.map((index) => (response.vectorNames[index] ?? '').slice(read.view.length + 2));
        const group = views.get(read.view) ?? { version: read.version, features, samples: [] };
        views.set(read.view, group);
        for (const [row, flight] of flights.entries()) {
          const position = response.views[viewIndex]?.positions[row] ?? 0n;
          const statuses = indices.map((index) => response.statuses[row * columns + index] ?? 0);
          if (position === 0n || !statuses.every((status) => comparable.has(status))) continue;
          const served = indices.map((index, at) =>
            toSampleValue(response.vectors[row * columns + index] ?? Number.NaN, statuses[at] ?? 0, features[at] ?? ''),
          );
          group.samples.push({ keys: keysOf(read.view, flight), asOfUs: BigInt(flight.scheduledUs), position, served });
        }
        if (group.samples.length >= samplesPerCall) verify(read.view);
      }
    },
    async finish() {
      for (const view of [...views.keys()]) verify(view);
      await verifying;
    },
  };
}

function keysOf(view: string, flight: Flight): Map<string, string> {
  if (view.startsWith('destination_')) return new Map([['destination', flight.destination]]);
  if (view.startsWith('route_'))
    return new Map([
      ['origin', flight.origin],
      ['destination', flight.destination],
    ]);
  if (view.startsWith('origin_hour_'))
    return new Map([
      ['origin', flight.origin],
      ['hour', String(hourOf(flight))],
    ]);
  return new Map([['origin', flight.origin]]);
}

function toSampleValue(value: number, status: number, feature: string): compute.SampleValue {
  if (status === serving.ValueStatus.NULL) return { kind: undefined };
  // counts are the only integers of the example's views
  if (/^(count|departures|very_late)_/.test(feature)) return { kind: { $case: 'int64Value', value: BigInt(value) } };
  return { kind: { $case: 'doubleValue', value } };
}

function text(value: compute.SampleValue | undefined): string {
  return value?.kind === undefined ? 'null' : String(value.kind.value);
}
