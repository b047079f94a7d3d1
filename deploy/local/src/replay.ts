import {
  delayedAfterMinutes,
  eventsInOrder,
  type Flight,
  type FlightEvent,
  keyColumns,
  readFlights,
  requestData,
} from '@millrace/flights';
import type { BaselineScores } from './baselines.ts';
import type { Clients } from './clients.ts';
import type { FreshnessProbe } from './freshness.ts';
import type { ParityCheck } from './parity.ts';
import type { Publisher } from './publisher.ts';

export interface ReplayPlan {
  /** Events from this time on are published one after the other; those before it were loaded as history. */
  readonly fromUs: number;
  readonly toUs: number;
  /** Flights scheduled before `fromUs` that may still be in the air then. */
  readonly lookBackUs: number;
  readonly eventsPerSecond: number;
  readonly paritySample: number;
}

export interface ReplayParts {
  readonly clients: Clients;
  readonly publisher: Publisher;
  readonly freshness: FreshnessProbe;
  readonly parity: ParityCheck;
  readonly baselines: BaselineScores;
  readonly signal: AbortSignal;
}

export interface ReplayProgress {
  published: number;
  predictions: number;
  /** Predictions whose outcome was published too. */
  outcomes: number;
  eventTimeUs: number;
  /** Wall time spent, in ms. */
  elapsedMs: number;
}

interface Chunk {
  readonly events: FlightEvent[];
  readonly departing: Flight[];
  readonly landing: Flight[];
}

/** A chunk spans at most this much event time, so that rows still answer for its departures after the next one is in. */
const chunkSpanUs = 4 * 60_000_000;
const chunkEvents = 200;

/** Chunks whose predictions are still on their way; more would ask rows for times that they have left behind. */
const chunksInFlight = 3;

/**
 * Publishes events in event-time order, faster than life; once a chunk is readable, asks for a prediction for each flight of it that
 * is due to leave, as of its scheduled time. The next chunks are published meanwhile.
 */
export async function replay(plan: ReplayPlan, parts: ReplayParts, progress: ReplayProgress): Promise<void> {
  const predicted = new Set<string>();
  const startedMs = performance.now();
  const pace = pacer(plan.eventsPerSecond);
  const sampled = every(plan.paritySample);
  const following: Promise<void>[] = [];
  let accounted: Promise<void> = Promise.resolve();
  for await (const chunk of chunks(plan)) {
    if (parts.signal.aborted) break;
    await pace(chunk.events.length);
    // an outcome counts when its prediction was answered before it was published, as in life
    const judged = chunk.landing.filter(({ flight }) => predicted.delete(flight));
    const publishedMs = performance.now();
    const positions = await parts.publisher.publish(chunk.events);
    const predicting = predict(chunk, positions, publishedMs, sampled(), parts, progress);
    accounted = Promise.all([predicting, accounted]).then(() => {
      for (const { flight } of chunk.departing) predicted.add(flight);
      for (const flight of judged) parts.baselines.add(flight, flight.delayMinutes > delayedAfterMinutes);
      progress.outcomes += judged.length;
    });
    following.push(accounted);
    if (following.length >= chunksInFlight) await following.shift();
    progress.published += chunk.events.length;
    progress.eventTimeUs = chunk.events.at(-1)?.eventTimeUs ?? progress.eventTimeUs;
    progress.elapsedMs = performance.now() - startedMs;
  }
  await accounted;
  progress.elapsedMs = performance.now() - startedMs;
}

async function predict(
  chunk: Chunk,
  positions: ReadonlyMap<string, bigint>,
  publishedMs: number,
  isSampled: boolean,
  parts: ReplayParts,
  progress: ReplayProgress,
): Promise<void> {
  const last = chunk.landing.at(-1);
  const position = positions.get('arrivals');
  if (last && position !== undefined && position > 0n) await parts.freshness.awaitReadable(last, position, publishedMs);
  if (chunk.departing.length === 0) return;
  const response = await parts.clients.predictions.predict({
    deployment: 'flight_delay',
    keys: keyColumns(chunk.departing),
    requestData: requestData(chunk.departing),
    asOfUs: 0n,
    asOfUsByRow: chunk.departing.map((flight) => BigInt(flight.scheduledUs)),
    predictionKeys: chunk.departing.map((flight) => flight.flight),
    allowHistory: true,
    omitExplanation: false,
  });
  progress.predictions += response.predictions.length;
  if (isSampled) parts.parity.add(chunk.departing, response);
}

async function* chunks(plan: ReplayPlan): AsyncGenerator<Chunk> {
  let chunk: Chunk = { events: [], departing: [], landing: [] };
  for await (const { event, flight } of eventsInOrder(readFlights(plan.fromUs - plan.lookBackUs, plan.toUs))) {
    if (event.eventTimeUs < plan.fromUs) continue;
    if (event.eventTimeUs >= plan.toUs) break;
    const firstUs = chunk.events[0]?.eventTimeUs ?? event.eventTimeUs;
    if (chunk.events.length >= chunkEvents || event.eventTimeUs - firstUs > chunkSpanUs) {
      yield chunk;
      chunk = { events: [], departing: [], landing: [] };
    }
    chunk.events.push(event);
    (event.source === 'departures' ? chunk.departing : chunk.landing).push(flight);
  }
  if (chunk.events.length > 0) yield chunk;
}

/** True for a share of the calls, evenly spread. */
function every(share: number): () => boolean {
  let sum = 0;
  return () => {
    sum += share;
    if (sum < 1) return false;
    sum -= 1;
    return true;
  };
}

/** What was missed is caught up for this long at most: a slow stretch is not followed by a burst. */
const debtMs = 100;

/** Waits until so many events more are due. */
function pacer(perSecond: number): (events: number) => Promise<void> {
  let dueMs = performance.now();
  return async (events) => {
    const nowMs = performance.now();
    dueMs = Math.max(dueMs, nowMs - debtMs);
    if (dueMs > nowMs + 1) await new Promise((resolve) => setTimeout(resolve, dueMs - nowMs));
    dueMs += (events / perSecond) * 1000;
  };
}

/** Publishes every event of `[fromUs, toUs)` in large batches, several in flight. */
export async function loadHistory(
  plan: { readonly fromUs: number; readonly toUs: number },
  publisher: Publisher,
  onProgress: (published: number, eventTimeUs: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const inFlight = new Set<Promise<void>>();
  let batch: FlightEvent[] = [];
  let sent = 0;
  const flush = async (): Promise<void> => {
    const events = batch;
    batch = [];
    const eventTimeUs = events.at(-1)?.eventTimeUs ?? 0;
    const done: Promise<void> = publisher.publish(events).then(() => {
      inFlight.delete(done);
      sent += events.length;
      onProgress(sent, eventTimeUs);
    });
    inFlight.add(done);
    if (inFlight.size >= 6) await Promise.race(inFlight);
  };
  for await (const { event } of eventsInOrder(readFlights(plan.fromUs, plan.toUs))) {
    if (event.eventTimeUs >= plan.toUs || signal.aborted) break;
    batch.push(event);
    if (batch.length >= 1000) await flush();
  }
  if (batch.length > 0) await flush();
  await Promise.all(inFlight);
}
