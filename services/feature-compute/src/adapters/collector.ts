import { setFlagsFromString } from 'node:v8';

/**
 * By default V8 collects the whole heap whenever 64 MB of memory outside it have come since the last time, however small the heap is: with up to 177 ms of
 * marking beside rows. Rows, commands to Redis and states are in memory that is used again (domain/arena.ts); what is left are batches of events, vectors,
 * registers and what LMDB gives. Counted in the heap's own limit, which grows with it, they cause fewer collections.
 */
export function countBuffersInHeapLimit(): void {
  setFlagsFromString('--external-memory-accounted-in-global-limit');
}
