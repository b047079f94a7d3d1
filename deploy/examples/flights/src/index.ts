export {
  arrivalOf,
  arrivalTimeUs,
  delayedAfterMinutes,
  departureOf,
  eventsInOrder,
  type FlightEvent,
  hourOf,
} from './events.ts';
export { dayUs, type Flight, firstDayUs, flightsFile, readFlights } from './flights.ts';
export { keyColumns, requestData } from './request.ts';
