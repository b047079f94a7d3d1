/** Work that nobody waits for: bounded in number and bytes, after what the callers of this turn wait for, and dropped when there is too much of it. */
export interface ShadowQueue {
  /** False when it is dropped. The job must not throw. */
  offer(job: (signal: AbortSignal) => Promise<void>, bytes: number): boolean;
  readonly waiting: number;
}

export interface ShadowLimits {
  readonly jobsMax: number;
  readonly bytesMax: number;
  readonly inFlightMax: number;
  readonly timeoutMs: number;
}

export const shadowLimits: ShadowLimits = { jobsMax: 256, bytesMax: 2 ** 26, inFlightMax: 8, timeoutMs: 10_000 };

export function createShadowQueue(limits: ShadowLimits): ShadowQueue {
  const queue: { readonly job: (signal: AbortSignal) => Promise<void>; readonly bytes: number }[] = [];
  let [inFlight, bytesHeld, isDue] = [0, 0, false];

  function pump(): void {
    isDue = false;
    while (inFlight < limits.inFlightMax) {
      const next = queue.shift();
      if (!next) return;
      inFlight++;
      void next.job(AbortSignal.timeout(limits.timeoutMs)).finally(() => {
        inFlight--;
        bytesHeld -= next.bytes;
        pump();
      });
    }
  }

  return {
    offer(job, bytes) {
      if (queue.length >= limits.jobsMax || bytesHeld + bytes > limits.bytesMax) return false;
      queue.push({ job, bytes });
      bytesHeld += bytes;
      // not in this turn: answers go out before
      if (!isDue) setImmediate(pump);
      isDue = true;
      return true;
    },
    get waiting() {
      return queue.length;
    },
  };
}
