import type { ingestion } from '@millrace/contracts';
import { allFeatures, double, entity, featureService, featureView, sliding, source, string } from '@millrace/sdk';

/** What W7 is made of. Every event follows from its number, so that the oracle needs no record of what was sent. */
export const windows = { m5: 300, h1: 3_600, h24: 86_400, d30: 30 * 86_400 } as const;
/** The standard hops of these sizes, in seconds: design §5. */
export const hops = { m5: 5, h1: 300, h24: 3_600, d30: 86_400 } as const;
export type WindowName = keyof typeof windows;
export const windowNames = Object.keys(windows) as WindowName[];

export const visits = source('visits', { key: 'page', fields: { page: string(), spent: double(), item: string() } });
const page = entity('page', { joinKeys: { page: 'STRING' } });
const view = featureView('visits_by_page', {
  entity: page,
  source: visits,
  features: (of) =>
    Object.fromEntries(
      windowNames.flatMap((name) => {
        const window = sliding(`${windows[name]}s`);
        return [
          [`count_${name}`, of.count({ window })],
          [`sum_${name}`, of.sum('spent', { window })],
          [`mean_${name}`, of.mean('spent', { window })],
          [`min_${name}`, of.min('spent', { window })],
          [`max_${name}`, of.max('spent', { window })],
          [`last_${name}`, of.last('item', { window })],
          [`distinct_${name}`, of.distinct('item', { window })],
          [`p95_${name}`, of.percentile('spent', { window, quantile: 0.95 })],
        ];
      }),
    ),
});
export const definitions = [visits, page, view, featureService('pages', { features: [allFeatures(view)] })];

export type World = {
  readonly startUs: number;
  readonly eventsPerSecond: number;
  readonly keys: number;
  readonly batchEvents: number;
};

export type BenchEvent = {
  readonly number: number;
  readonly key: number;
  readonly timeUs: number;
  readonly spent: number;
  readonly item: number;
};

const lateShare = 0.05;
const lateUsMax = 3_600_000_000;
const duplicateShare = 0.01;
const items = 5_000;
const zipfExponent = 1.1;

/** Event times follow the schedule; 5 % are up to an hour late. */
export function createEvents({ startUs, eventsPerSecond, keys }: World): (number: number) => BenchEvent {
  const shares = zipf(keys);
  return (number) => {
    const lateUs = share(number, 1) < lateShare ? Math.floor(share(number, 2) * lateUsMax) : 0;
    return {
      number,
      key: lowerBound(shares, share(number, 3)),
      timeUs: startUs + Math.floor((number * 1e6) / eventsPerSecond) - lateUs,
      spent: Math.round(share(number, 4) ** 3 * 1e5) / 100,
      item: Math.floor(share(number, 5) * items),
    };
  };
}

/** 1 % of the events are sent a second time, in the batch after their own. */
export function isSentTwice(number: number): boolean {
  return share(number, 6) < duplicateShare;
}

/** The events of a batch as they are sent. */
export function batchOf(world: World, eventOf: (number: number) => BenchEvent, batch: number): ingestion.Event[] {
  const numbers = Array.from({ length: world.batchEvents }, (_, index) => batch * world.batchEvents + index);
  const again = numbers.map((number) => number - world.batchEvents).filter((n) => n >= 0 && isSentTwice(n));
  return [...numbers, ...again].map((number) => {
    const { key, timeUs, spent, item } = eventOf(number);
    return {
      id: `visit-${number}`,
      eventTimeUs: BigInt(timeUs),
      json: Buffer.from(`{"page":"${pageName(key)}","spent":${spent},"item":"item-${item}"}`),
    };
  });
}

export function pageName(key: number): string {
  return `page-${key}`;
}

/** Cumulative shares of keys whose weights fall as rank^−1.1. */
function zipf(keys: number): Float64Array {
  const cumulative = new Float64Array(keys);
  let sum = 0;
  for (let rank = 0; rank < keys; rank++) {
    sum += (rank + 1) ** -zipfExponent;
    cumulative[rank] = sum;
  }
  return cumulative.map((weight) => weight / sum);
}

function lowerBound(ascending: Float64Array, value: number): number {
  let low = 0;
  let high = ascending.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A number in [0, 1) that depends on the event's number and on what it is for. */
function share(number: number, purpose: number): number {
  let mixed = Math.imul(number + 0x9e3779b9 * purpose, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0xc2b2ae35);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0x27d4eb2f);
  return ((mixed ^ (mixed >>> 16)) >>> 0) / 4294967296;
}
