/** Of the calls of a model, so many may be made again: a backend in trouble is not asked twice as much. */
const retryShare = 0.1;
/** Retries that a model which has not been called for a while may make at once. */
const retriesAtOnce = 10;
const waitMs = 20;
const waitMsMax = 500;

export interface RetryBudget {
  /** A call was made. */
  called(): void;
  /** Whether one more may be made; it is spent then. */
  spend(): boolean;
}

/** A tenth of the calls, and ten at once. */
export function createRetryBudget(): RetryBudget {
  let left = retriesAtOnce;
  return {
    called() {
      left = Math.min(retriesAtOnce, left + retryShare);
    },
    spend() {
      if (left < 1) return false;
      left--;
      return true;
    },
  };
}

/** Before the retry of that number, from 0: exponential with full jitter, so that callers do not come back together. */
export function retryWaitMs(retry: number, random: () => number): number {
  return random() * Math.min(waitMsMax, waitMs * 2 ** retry);
}
