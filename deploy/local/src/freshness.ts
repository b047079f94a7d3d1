import { arrivalOf, type Flight, keyColumns } from '@millrace/flights';
import { MeshError } from '@millrace/kernel';
import { build, type Histogram } from 'hdr-histogram-js';
import type { Clients } from './clients.ts';

/** How long it took from handing an event to ingestion until online-serving answered with a row that reflects it. */
export interface FreshnessProbe {
  /** Polls the row of the flight's origin until it reflects a position; records the time since `publishedMs`. */
  awaitReadable(flight: Flight, position: bigint, publishedMs: number): Promise<void>;
  percentileMs(percent: number): number;
  readonly count: number;
}

const view = 'origin_delays';
const giveUpMs = 60_000;
const pollMs = 4;

export function createFreshnessProbe(client: Clients['features']): FreshnessProbe {
  // 3 digits from 1 µs to 60 s
  const histogram: Histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: giveUpMs * 1000,
    numberOfSignificantValueDigits: 3,
  });
  return {
    async awaitReadable(flight, position, publishedMs) {
      const request = {
        featureService: 'flight_delay',
        version: '',
        keys: keyColumns([flight]),
        asOfUs: BigInt(arrivalOf(flight).eventTimeUs + 1),
        asOfUsByRow: [],
        allowPartial: false,
        allowHistory: false,
        omitMetadata: false,
        requestData: [],
      };
      for (;;) {
        const { views } = await client.getFeatures(request);
        const elapsedMs = performance.now() - publishedMs;
        if ((views.find((read) => read.view === view)?.positions[0] ?? 0n) >= position) {
          histogram.recordValue(Math.max(1, Math.round(elapsedMs * 1000)));
          return;
        }
        if (elapsedMs > giveUpMs) {
          throw new MeshError(
            'DEADLINE_EXCEEDED',
            `position ${position} was not readable after ${giveUpMs / 1000} s; look at .millrace/logs/feature-compute.log`,
            { position: String(position) },
          );
        }
        await new Promise((resolve) => setTimeout(resolve, pollMs));
      }
    },
    percentileMs: (percent) => histogram.getValueAtPercentile(percent) / 1000,
    get count() {
      return histogram.totalCount;
    },
  };
}
