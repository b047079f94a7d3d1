/** However few states are behind, so many are saved in a millisecond: a quiet stream's are in the store soon. */
const statesPerMsMin = 0.5;
/** A round begins this part of the interval after the one before at the earliest, however soon that was over: a busy key is encoded once a round. */
const restShare = 0.1;

/** How many states to save now, given the time and how many are behind. */
export type SavePace = (nowMs: number, behind: number) => number;

/**
 * Spreads the saving of states over rounds: what is behind when one begins is saved evenly over the interval. So a state waits for two intervals at most,
 * a busy one is encoded once an interval, and nothing comes in bursts, which rows would have to wait for.
 */
export function createSavePace(intervalMs: number): SavePace {
  let startMs = Number.NEGATIVE_INFINITY;
  let total = 0;
  let done = 0;
  return (nowMs, behind) => {
    if (done >= total) {
      if (nowMs - startMs < restShare * intervalMs) return 0;
      startMs = nowMs;
      total = behind;
      done = 0;
    }
    const elapsedMs = nowMs - startMs;
    const due = Math.ceil(Math.max((total * elapsedMs) / intervalMs, elapsedMs * statesPerMsMin));
    const count = Math.max(0, Math.min(total, due) - done);
    done += count;
    return count;
  };
}
