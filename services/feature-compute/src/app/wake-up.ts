/** A wait that something else may end. */
export type WakeUp = {
  /** Ends the wait that is under way, or the next one. */
  wake(): void;
  /** Waits for at most `ms`, or until somebody wakes or the signal aborts. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
};

export function createWakeUp(): WakeUp {
  let woken = false;
  let end: (() => void) | undefined;

  return {
    wake: () => {
      woken = true;
      end?.();
    },
    wait: async (ms, signal) => {
      if (!woken && !signal.aborted) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms);
          const stop = () => end?.();
          end = () => {
            clearTimeout(timer);
            signal.removeEventListener('abort', stop);
            resolve();
          };
          signal.addEventListener('abort', stop, { once: true });
        });
        end?.();
        end = undefined;
      }
      woken = false;
    },
  };
}
