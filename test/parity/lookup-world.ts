import type { ingestion } from '@millrace/contracts';
import { randomOf } from '@millrace/features/testing';
import {
  double,
  entity,
  feature,
  featureService,
  featureView,
  int64,
  lifetime,
  lookup,
  sliding,
  source,
  string,
} from '@millrace/sdk';

/** Flights name aircraft, aircraft carriers and the flight that they do next, carriers hubs; a brute force says what each lookup finds. */
export type SourceName = 'departures' | 'fleet' | 'fees' | 'gates';
type Field = string | number | null;
export type WorldEvent = {
  readonly source: SourceName;
  readonly timeUs: number;
  readonly fields: Readonly<Record<string, Field>>;
};
export type WorldRow = { readonly flight: number; readonly asOfUs: number; readonly other: string | null };

const departures = source('departures', { fields: { flight: int64(), tail: string({ nullable: true }) } });
const fleet = source('fleet', {
  fields: { tail: string(), carrier: string({ nullable: true }), seats: int64(), next: int64({ nullable: true }) },
});
const fees = source('fees', { fields: { carrier: string(), fee: double(), hub: int64({ nullable: true }) } });
const gates = source('gates', { fields: { hub: int64(), gates: int64() } });
const flight = entity('flight', { joinKeys: { flight: 'INT64' } });
const aircraft = entity('aircraft', { joinKeys: { tail_number: 'STRING' } });
const carrier = entity('carrier', { joinKeys: { code: 'STRING' } });
const hub = entity('hub', { joinKeys: { hub: 'INT64' } });
const window = lifetime();
export const flights = featureView('flights', {
  entity: flight,
  source: departures,
  features: (of) => ({ n: of.count({ window }), last_tail: of.last('tail', { window }) }),
});
export const aircrafts = featureView('aircrafts', {
  entity: aircraft,
  source: fleet,
  keys: { tail_number: 'tail' },
  features: (of) => ({
    seats: of.last('seats', { window }),
    carrier: of.last('carrier', { window }),
    next: of.last('next', { window }),
    n_1h: of.count({ window: sliding('1h', { hop: '5m' }) }),
  }),
  derived: { size: '"of " + string(seats / 100)' },
});
const carriers = featureView('carriers', {
  entity: carrier,
  source: fees,
  keys: { code: 'carrier' },
  features: (of) => ({ fee: of.mean('fee', { window }), hub: of.last('hub', { window }) }),
});
const hubs = featureView('hubs', {
  entity: hub,
  source: gates,
  features: (of) => ({ gates: of.last('gates', { window }), n: of.count({ window }) }),
});
const tail = feature(flights, 'last_tail', { as: 'tail' });
const trip = featureService('trip', {
  features: [
    tail,
    lookup({
      through: { tail_number: tail },
      features: [
        feature(aircrafts, 'seats', { as: 'seats' }),
        feature(aircrafts, 'n_1h', { as: 'moves' }),
        feature(aircrafts, 'size', { as: 'size', default: 'unknown' }),
      ],
    }),
    lookup({
      through: { code: feature(aircrafts, 'carrier') },
      as: 'by',
      features: [feature(carriers, 'fee', { default: -1 }), feature(carriers, 'hub', { as: 'hub', hidden: true })],
    }),
    lookup({
      through: { tail_number: tail },
      features: [
        feature(aircrafts, 'carrier', { as: 'carrier', hidden: true }),
        feature(aircrafts, 'next', { as: 'next', hidden: true }),
      ],
    }),
    lookup({ through: { flight: 'next' }, as: 'next', features: [feature(flights, 'n')] }),
    lookup({
      through: { hub: 'hub' },
      features: [
        feature(hubs, 'gates', { as: 'gates' }),
        feature(hubs, 'n', { as: 'hub_events' }),
        feature(hubs, 'gates', { as: 'fresh_gates', maxAge: '30m', whenStale: 'null' }),
      ],
    }),
    lookup({ through: { code: 'partner' }, as: 'partner', features: [feature(carriers, 'fee')] }),
    lookup({ through: { tail_number: 'other' }, as: 'other', features: [feature(aircrafts, 'seats')] }),
    lookup({ through: { hub: 'flight' }, as: 'own', features: [feature(hubs, 'gates')] }),
  ],
  derived: {
    partner: 'carrier == null ? "C0" : (carrier == "C1" ? "C2" : "C1")',
    fee_each: 'by__fee / double(seats)',
  },
  request: { other: string({ nullable: true }) },
});
export const lookupDefinitions = [
  ...[departures, fleet, fees, gates, flight, aircraft, carrier, hub],
  ...[flights, aircrafts, carriers, hubs, trip],
];

const hourUs = 3_600_000_000;

/** Events of two hours before `untilUs` in an order of their own, some keys of which nobody else has heard. */
export function randomEvents(seed: number, count: number, untilUs: number): WorldEvent[] {
  const random = randomOf(seed);
  const of = (n: number) => Math.floor(random() * n);
  const orNull = <T extends Field>(value: T): T | null => (random() < 0.2 ? null : value);
  return Array.from({ length: count }, (): WorldEvent => {
    const timeUs = untilUs - Math.floor(random() * 2 * hourUs) - 1;
    switch (of(4)) {
      case 0:
        return { source: 'departures', timeUs, fields: { flight: of(6), tail: orNull(`N${of(6)}`) } };
      case 1:
        return {
          source: 'fleet',
          timeUs,
          fields: { tail: `N${of(5)}`, carrier: orNull(`C${of(5)}`), seats: 100 + of(300), next: orNull(of(8)) },
        };
      case 2:
        return { source: 'fees', timeUs, fields: { carrier: `C${of(4)}`, fee: of(1000) / 64, hub: orNull(of(5)) } };
      default:
        return { source: 'gates', timeUs, fields: { hub: of(4), gates: of(90) } };
    }
  });
}

export function toWire(events: readonly WorldEvent[], prefix: string): Map<SourceName, ingestion.Event[]> {
  const bySource = new Map<SourceName, ingestion.Event[]>();
  for (const [at, { source: name, timeUs, fields }] of events.entries()) {
    const event = { id: `${prefix}${at}`, eventTimeUs: BigInt(timeUs), json: Buffer.from(JSON.stringify(fields)) };
    bySource.set(name, [...(bySource.get(name) ?? []), event]);
  }
  return bySource;
}

type Expected = readonly [value: unknown, status: string];

/** What the service answers for a row, by going through all events. */
export function expectedOf(events: readonly WorldEvent[], row: WorldRow): Readonly<Record<string, Expected>> {
  const t = row.asOfUs;
  const rowsOf = (source: SourceName, field: string, key: Field) =>
    key === null
      ? []
      : events
          .filter((each) => each.source === source && each.fields[field] === key && each.timeUs < t)
          .toSorted((a, b) => a.timeUs - b.timeUs);
  const last = (rows: readonly WorldEvent[], field: string): Field =>
    rows.findLast(({ fields }) => fields[field] !== null)?.fields[field] ?? null;
  const answer = (rows: readonly WorldEvent[], value: unknown, fallback: unknown = null): Expected => {
    if (rows.length > 0 && value !== null) return [value, 'PRESENT'];
    return fallback === null ? [null, rows.length === 0 ? 'NOT_FOUND' : 'NULL'] : [fallback, 'DEFAULTED'];
  };
  const mean = (rows: readonly WorldEvent[], field: string) =>
    rows.reduce((sum, { fields }) => sum + Number(fields[field]), 0) / Math.max(1, rows.length);

  const own = rowsOf('departures', 'flight', row.flight);
  const tailNumber = last(own, 'tail');
  const plane = rowsOf('fleet', 'tail', tailNumber);
  const seats = last(plane, 'seats');
  const since = Math.floor((t - hourUs) / (hourUs / 12)) * (hourUs / 12);
  const carrierCode = last(plane, 'carrier');
  const carrierRows = rowsOf('fees', 'carrier', carrierCode);
  const fee = answer(carrierRows, mean(carrierRows, 'fee'), -1);
  const hubRows = rowsOf('gates', 'hub', last(carrierRows, 'hub'));
  const next = rowsOf('departures', 'flight', last(plane, 'next'));
  const partner = carrierCode === null ? 'C0' : carrierCode === 'C1' ? 'C2' : 'C1';
  const partnerRows = rowsOf('fees', 'carrier', partner);
  const other = rowsOf('fleet', 'tail', row.other);
  const ownHub = rowsOf('gates', 'hub', row.flight);
  const isOld = t - (hubRows.at(-1)?.timeUs ?? 0) > hourUs / 2;
  const feeEach = seats === null ? null : Number(fee[0]) / Number(seats);
  return {
    tail: answer(own, tailNumber),
    seats: answer(plane, seats),
    moves: answer(plane, plane.filter(({ timeUs }) => timeUs >= since).length),
    size: answer(plane, `of ${Math.floor(Number(seats) / 100)}`, 'unknown'),
    by__fee: fee,
    next__n: answer(next, next.length),
    gates: answer(hubRows, last(hubRows, 'gates')),
    hub_events: answer(hubRows, hubRows.length),
    fresh_gates: hubRows.length > 0 && isOld ? [null, 'STALE'] : answer(hubRows, last(hubRows, 'gates')),
    partner__fee: answer(partnerRows, mean(partnerRows, 'fee')),
    other__seats: answer(other, last(other, 'seats')),
    own__gates: answer(ownHub, last(ownHub, 'gates')),
    partner: [partner, 'PRESENT'],
    fee_each: feeEach === null ? [null, 'NOT_FOUND'] : [feeEach, fee[1]],
  };
}
