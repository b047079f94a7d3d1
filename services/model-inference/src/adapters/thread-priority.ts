import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';
import { basename } from 'node:path';

/** Half of the weight that a thread has by default. */
const usualNiceness = 3;
/** The least weight there is: a seventieth. */
const leastNiceness = 19;

export interface ThreadPriority {
  /** Gives way to every other thread until `use` is over, where the process may take that back; elsewhere as before. */
  givingWay<R>(use: () => Promise<R>): Promise<R>;
}

/**
 * Where a worker shares a core with the service's event loop, the loop goes first: what it does not read in time waits in sockets, where
 * nobody sees it, and what it does not answer in time is late. Linux has a priority for each thread; elsewhere this does nothing.
 * A thread may always give up priority, and take it back only with CAP_SYS_NICE or a limit (RLIMIT_NICE) that allows it, which is tried once.
 */
export function yieldToEventLoop(): ThreadPriority {
  const set = priorityOfThisThread();
  const isElastic = set(usualNiceness + 1) && set(usualNiceness);
  return {
    async givingWay(use) {
      if (!isElastic) return use();
      set(leastNiceness);
      try {
        return await use();
      } finally {
        set(usualNiceness);
      }
    },
  };
}

function priorityOfThisThread(): (niceness: number) => boolean {
  let thread: number;
  try {
    thread = Number(basename(readlinkSync('/proc/thread-self')));
  } catch {
    // no /proc
    return () => false;
  }
  return (niceness) => {
    try {
      setPriority(thread, niceness);
      return true;
    } catch {
      return false;
    }
  };
}
