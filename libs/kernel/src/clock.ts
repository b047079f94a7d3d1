/** Where the time comes from, so that tests can stand still. All times are UTC microseconds since the Unix epoch. */
export interface Clock {
  nowUs(): number;
}

const originUs = Math.round(performance.timeOrigin * 1000);

/** The system's clock with microsecond resolution; follows wall-clock steps to within one re-anchoring (1 s). */
export function createSystemClock(): Clock {
  let anchorUs = originUs;
  let anchoredAtMs = 0;
  return {
    nowUs() {
      const elapsedMs = performance.now();
      if (elapsedMs - anchoredAtMs > 1000) {
        anchorUs = Date.now() * 1000 - Math.round(elapsedMs * 1000);
        anchoredAtMs = elapsedMs;
      }
      return anchorUs + Math.round(elapsedMs * 1000);
    },
  };
}
