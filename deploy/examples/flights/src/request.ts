import { hourOf } from './events.ts';
import type { Flight } from './flights.ts';

/** What only the caller of the model knows: the request columns of `train/train.py`, for each flight. */
export function requestData(flights: readonly Flight[]): { name: string; doubles: number[] }[] {
  const hours = flights.map((flight) => ((flight.scheduledUs / 3_600_000_000) % 24) * (Math.PI / 12));
  // 1970-01-01 was a Thursday; Monday is 0
  const weekdays = flights.map(
    (flight) => (Math.floor(flight.scheduledUs / 86_400_000_000 + 3) % 7) * ((2 * Math.PI) / 7),
  );
  return [
    { name: 'distance_miles', doubles: flights.map((flight) => flight.distanceMiles) },
    { name: 'hour_sin', doubles: hours.map(Math.sin) },
    { name: 'hour_cos', doubles: hours.map(Math.cos) },
    { name: 'weekday_sin', doubles: weekdays.map(Math.sin) },
    { name: 'weekday_cos', doubles: weekdays.map(Math.cos) },
  ];
}

/** The join keys of the feature service `flight_delay`, a column each. */
export function keyColumns(flights: readonly Flight[]) {
  const strings = (name: string, of: (flight: Flight) => string) => ({
    name,
    strings: flights.map(of),
    int64s: [],
    bools: [],
    nulls: Buffer.alloc(0),
  });
  return [
    strings('origin', (flight) => flight.origin),
    strings('destination', (flight) => flight.destination),
    {
      name: 'hour',
      strings: [],
      int64s: flights.map((flight) => BigInt(hourOf(flight))),
      bools: [],
      nulls: Buffer.alloc(0),
    },
  ];
}
