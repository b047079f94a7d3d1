import { MeshError } from '@millrace/kernel';

/** Lets a limited number of batches run, a limited number wait, and refuses the rest with OVERLOADED. */
export function batchGate(limits: { readonly batchesInFlightMax: number; readonly batchesWaitingMax: number }) {
  const queue: (() => void)[] = [];
  let running = 0;
  return {
    get waiting(): number {
      return queue.length;
    },
    async run<T>(work: () => Promise<T>): Promise<T> {
      if (running >= limits.batchesInFlightMax) {
        if (queue.length >= limits.batchesWaitingMax) {
          throw new MeshError(
            'OVERLOADED',
            `${queue.length} batches wait for the event log, the limit is ${limits.batchesWaitingMax}; retry later`,
            { waiting: queue.length, limit: limits.batchesWaitingMax },
            { retryAfterMs: 200 },
          );
        }
        await new Promise<void>((resolve) => queue.push(resolve));
      } else running++;
      try {
        return await work();
      } finally {
        // The slot is handed on without being freed, so that nobody can slip in between.
        const next = queue.shift();
        if (next === undefined) running--;
        else next();
      }
    },
  };
}
