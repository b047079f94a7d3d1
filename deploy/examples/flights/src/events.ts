import type { Flight } from './flights.ts';

/** An event of the example, ready to be published: `millrace.ingestion.v1.Event` before its fields are encoded. */
export interface FlightEvent {
  readonly source: 'departures' | 'arrivals';
  readonly id: string;
  readonly eventTimeUs: number;
  readonly fields: Readonly<Record<string, string | number | boolean>>;
}

const minuteUs = 60_000_000;
/** Late by more than this counts as delayed. */
export const delayedAfterMinutes = 15;
/** Gate to gate without a delay: half an hour on the ground and 450 miles an hour in the air. */
const groundMinutes = 30;
const milesPerMinute = 7.5;

/** The hour of day (0–23, UTC) that a flight is scheduled in: a join key. */
export function hourOf(flight: Flight): number {
  return Math.floor(flight.scheduledUs / 3_600_000_000) % 24;
}

/** What is known when the flight is due to leave. */
export function departureOf(flight: Flight): FlightEvent {
  return {
    source: 'departures',
    id: `d-${flight.flight}`,
    eventTimeUs: flight.scheduledUs,
    fields: {
      flight: flight.flight,
      origin: flight.origin,
      destination: flight.destination,
      hour: hourOf(flight),
      distance_miles: flight.distanceMiles,
    },
  };
}

/** When the delay becomes known: scheduled time + a distance-based duration + the delay, never before the scheduled time. */
export function arrivalTimeUs(flight: Flight): number {
  const minutes = groundMinutes + Math.round(flight.distanceMiles / milesPerMinute) + flight.delayMinutes;
  return flight.scheduledUs + Math.max(1, minutes) * minuteUs;
}

/** What is known when the flight has landed, and not before: the delay. */
export function arrivalOf(flight: Flight): FlightEvent {
  return {
    source: 'arrivals',
    id: `a-${flight.flight}`,
    eventTimeUs: arrivalTimeUs(flight),
    fields: {
      flight: flight.flight,
      origin: flight.origin,
      destination: flight.destination,
      hour: hourOf(flight),
      delay_minutes: flight.delayMinutes,
      delayed: flight.delayMinutes > delayedAfterMinutes,
    },
  };
}

/** Departures and arrivals in the order of their event times; arrivals that are still in the air at the end come last. */
export async function* eventsInOrder(
  flights: AsyncIterable<Flight>,
): AsyncGenerator<{ readonly event: FlightEvent; readonly flight: Flight }> {
  const inAir = new LandingQueue();
  for await (const flight of flights) {
    yield* landed(inAir, flight.scheduledUs);
    yield { event: departureOf(flight), flight };
    inAir.push(flight);
  }
  yield* landed(inAir, Number.POSITIVE_INFINITY);
}

function* landed(inAir: LandingQueue, untilUs: number): Generator<{ event: FlightEvent; flight: Flight }> {
  for (let flight = inAir.popUntil(untilUs); flight; flight = inAir.popUntil(untilUs))
    yield { event: arrivalOf(flight), flight };
}

/** A binary heap of flights by arrival time. */
class LandingQueue {
  readonly #heap: { readonly atUs: number; readonly flight: Flight }[] = [];

  push(flight: Flight): void {
    const heap = this.#heap;
    const item = { atUs: arrivalTimeUs(flight), flight };
    let at = heap.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent];
      if (!above || above.atUs <= item.atUs) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = item;
  }

  /** The flight that lands first, when it lands at or before a time. */
  popUntil(untilUs: number): Flight | undefined {
    const heap = this.#heap;
    const first = heap[0];
    if (!first || first.atUs > untilUs) return undefined;
    const last = heap.pop();
    if (!last || heap.length === 0) return first.flight;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      const left = heap[child];
      if (!left) break;
      const right = heap[child + 1];
      if (right && right.atUs < left.atUs) child++;
      const smaller = heap[child];
      if (!smaller || smaller.atUs >= last.atUs) break;
      heap[at] = smaller;
      at = child;
    }
    heap[at] = last;
    return first.flight;
  }
}
