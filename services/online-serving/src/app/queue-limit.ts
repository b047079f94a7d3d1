/** How many rows may be read at once, so that none waits long. All times are milliseconds of one monotonic clock. */
export type QueueLimit = {
  /** Rows in flight at most, now. */
  rows(): number;
  /** How long a read that came now would wait, as far as is known. */
  waitMs(nowMs: number): number;
  /** A read was refused, or would have been: there is work for a higher limit. */
  reached(): void;
  /** The first answer to a read came after so long, or none did. */
  waited(waitMs: number, nowMs: number): void;
  /** A read has ended. */
  ended(rows: number, nowMs: number): void;
};

export type QueueLimitOptions = {
  readonly rowsMin: number;
  readonly rowsMax: number;
  /** The longest wait that is no standing queue. */
  readonly targetMs: number;
};

/**
 * Follows the queue, as CoDel does (Nichols and Jacobson, 2012): when even the luckiest read of an interval waited longer than the target, the
 * queue stands, and the limit falls to the rows that were finished in such a time (Little's law). It grows by a tenth for each
 * interval in which it held reads back and the queue was short.
 */
export function createQueueLimit({ rowsMin, rowsMax, targetMs }: QueueLimitOptions): QueueLimit {
  let limit = rowsMax;
  let startMs = Number.NaN;
  let waitMsMin = Number.POSITIVE_INFINITY;
  let rowsEnded = 0;
  let wasReached = false;
  let lastWaitMs = 0;

  function roll(nowMs: number): void {
    const elapsedMs = nowMs - startMs;
    if (elapsedMs < intervalMs) return;
    // the first interval, or one after a pause, says nothing
    if (elapsedMs < 10 * intervalMs && waitMsMin < Number.POSITIVE_INFINITY) {
      if (waitMsMin > targetMs) limit = Math.max(rowsMin, Math.min(limit * 0.9, (rowsEnded / elapsedMs) * targetMs));
      else if (wasReached) limit = Math.min(rowsMax, limit * 1.1);
      lastWaitMs = waitMsMin;
    }
    startMs = nowMs;
    waitMsMin = Number.POSITIVE_INFINITY;
    rowsEnded = 0;
    wasReached = false;
  }

  return {
    rows: () => limit,
    waitMs: (nowMs) => (nowMs - startMs < 10 * intervalMs ? lastWaitMs : 0),
    reached() {
      wasReached = true;
    },
    waited(waitMs, nowMs) {
      if (!(nowMs - startMs < 10 * intervalMs)) {
        startMs = nowMs;
        waitMsMin = Number.POSITIVE_INFINITY;
        rowsEnded = 0;
        wasReached = false;
      }
      if (waitMs < waitMsMin) waitMsMin = waitMs;
      roll(nowMs);
    },
    ended(rows, nowMs) {
      rowsEnded += rows;
      roll(nowMs);
    },
  };
}

const intervalMs = 100;
