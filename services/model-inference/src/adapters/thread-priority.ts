import { readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';
import { basename } from 'node:path';

/** Half of the weight that a thread has by default. */
const niceness = 3;

/**
 * Where a worker shares a core with the service's event loop, the loop goes first: what it does not read in time waits in sockets, where
 * nobody sees it, and what it does not answer in time is late. Linux has a priority for each thread; elsewhere this does nothing.
 */
export function yieldToEventLoop(): void {
  try {
    setPriority(Number(basename(readlinkSync('/proc/thread-self'))), niceness);
  } catch {
    // no /proc
  }
}
