/** Bytes that are given out until a reset takes all of them back. */
export type Arena = {
  take(bytes: number): Buffer;
  reset(): void;
};

const slabBytes = 1 << 20;

/**
 * Rows and checkpoints, tens of megabytes a second, would be thousands of buffers of their own, which the collector counts as memory outside its heap and
 * answers with full collections, right when events are busiest. Slabs stay for the next one.
 */
export function createArena(): Arena {
  const slabs: Buffer[] = [];
  let slab = 0;
  let used = 0;
  return {
    take(bytes) {
      if (bytes > slabBytes / 4) return Buffer.allocUnsafeSlow(bytes);
      if (used + bytes > slabBytes) {
        slab++;
        used = 0;
      }
      slabs[slab] ??= Buffer.allocUnsafeSlow(slabBytes);
      const taken = (slabs[slab] as Buffer).subarray(used, used + bytes);
      used += bytes;
      return taken;
    },
    reset() {
      // what was needed this time is what is likely to be needed next
      slabs.length = Math.min(slabs.length, slab + 1);
      slab = 0;
      used = 0;
    },
  };
}
