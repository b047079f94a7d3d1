/** The flights mesh: two sources, five views, one feature service. `millrace apply deploy/examples/flights/src/definitions.ts` */
import { allFeatures, bool, entity, featureService, featureView, int64, sliding, source, string } from '@millrace/sdk';

const about = { owner: 'flights@millrace.example', tags: { example: 'flights' } };

export const departures = source('departures', {
  ...about,
  description: 'A flight at its scheduled departure: nothing about its delay is known yet',
  key: 'flight',
  fields: {
    flight: string(),
    origin: string(),
    destination: string(),
    hour: int64({ min: 0, max: 23 }),
    distance_miles: int64({ min: 0, max: 10_000 }),
  },
});

export const arrivals = source('arrivals', {
  ...about,
  description: 'A flight that has landed: its delay is known from now on',
  key: 'flight',
  fields: {
    flight: string(),
    origin: string(),
    destination: string(),
    hour: int64({ min: 0, max: 23 }),
    delay_minutes: int64({ min: -1_440, max: 2_880 }),
    delayed: bool(),
  },
});

export const origin = entity('origin', {
  ...about,
  description: 'The airport that a flight leaves',
  joinKeys: { origin: 'STRING' },
});
export const destination = entity('destination', {
  ...about,
  description: 'The airport that a flight goes to',
  joinKeys: { destination: 'STRING' },
});
export const route = entity('route', { ...about, joinKeys: { origin: 'STRING', destination: 'STRING' } });
export const originHour = entity('origin_hour', {
  ...about,
  description: 'An airport at an hour of the day',
  joinKeys: { origin: 'STRING', hour: 'INT64' },
});

export const originDelays = featureView('origin_delays', {
  ...about,
  description: 'Flights that left this airport and have landed',
  entity: origin,
  source: arrivals,
  features: (of) => ({
    count_1h: of.count({ window: sliding('1h') }),
    delay_mean_1h: of.mean('delay_minutes', { window: sliding('1h') }),
    delayed_share_1h: of.mean('delayed', { window: sliding('1h') }),
    count_3h: of.count({ window: sliding('3h') }),
    delay_mean_3h: of.mean('delay_minutes', { window: sliding('3h') }),
    delay_stddev_3h: of.stddev('delay_minutes', { window: sliding('3h') }),
    delayed_share_3h: of.mean('delayed', { window: sliding('3h') }),
    delay_mean_24h: of.mean('delay_minutes', { window: sliding('24h') }),
    delayed_share_24h: of.mean('delayed', { window: sliding('24h') }),
    delayed_share_7d: of.mean('delayed', { window: sliding('7d') }),
  }),
});

export const destinationDelays = featureView('destination_delays', {
  ...about,
  description: 'Flights that were bound for this airport and have landed',
  entity: destination,
  source: arrivals,
  features: (of) => ({
    count_1h: of.count({ window: sliding('1h') }),
    delay_mean_1h: of.mean('delay_minutes', { window: sliding('1h') }),
    delayed_share_1h: of.mean('delayed', { window: sliding('1h') }),
    count_3h: of.count({ window: sliding('3h') }),
    delay_mean_3h: of.mean('delay_minutes', { window: sliding('3h') }),
    delay_stddev_3h: of.stddev('delay_minutes', { window: sliding('3h') }),
    delayed_share_3h: of.mean('delayed', { window: sliding('3h') }),
    delay_mean_24h: of.mean('delay_minutes', { window: sliding('24h') }),
    delayed_share_24h: of.mean('delayed', { window: sliding('24h') }),
    delayed_share_7d: of.mean('delayed', { window: sliding('7d') }),
  }),
});

export const routeDelays = featureView('route_delays', {
  ...about,
  entity: route,
  source: arrivals,
  features: (of) => ({
    count_7d: of.count({ window: sliding('7d') }),
    delay_mean_24h: of.mean('delay_minutes', { window: sliding('24h') }),
    delayed_share_24h: of.mean('delayed', { window: sliding('24h') }),
    delay_mean_7d: of.mean('delay_minutes', { window: sliding('7d') }),
    delay_stddev_7d: of.stddev('delay_minutes', { window: sliding('7d') }),
    delayed_share_7d: of.mean('delayed', { window: sliding('7d') }),
  }),
});

export const originHourDelays = featureView('origin_hour_delays', {
  ...about,
  entity: originHour,
  source: arrivals,
  features: (of) => ({
    count_7d: of.count({ window: sliding('7d') }),
    delay_mean_7d: of.mean('delay_minutes', { window: sliding('7d') }),
    delayed_share_7d: of.mean('delayed', { window: sliding('7d') }),
    very_late_7d: of.count({ window: sliding('7d'), filter: 'delay_minutes > 60' }),
  }),
});

export const originTraffic = featureView('origin_traffic', {
  ...about,
  description: 'Flights due to leave this airport',
  entity: origin,
  source: departures,
  features: (of) => ({
    departures_1h: of.count({ window: sliding('1h') }),
    departures_3h: of.count({ window: sliding('3h') }),
    departures_24h: of.count({ window: sliding('24h') }),
  }),
});

export const flightDelay = featureService('flight_delay', {
  ...about,
  description: 'What the delay model sees at departure time',
  features: [
    allFeatures(originDelays),
    allFeatures(destinationDelays),
    allFeatures(routeDelays),
    allFeatures(originHourDelays),
    allFeatures(originTraffic),
  ],
});
