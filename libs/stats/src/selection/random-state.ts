const size = 624;
const shift = 397;

/**
 * NumPy's legacy `RandomState`, bit for bit: MT19937 (Matsumoto and Nishimura, 1998) seeded by `init_genrand`, bounded integers by masked
 * rejection, shuffles by Fisher and Yates from the end. So a seed gives here what it gives in scikit-learn.
 */
export interface RandomState {
  /** A whole number in [0, 2³²). */
  nextUint32(): number;
  /** A whole number in [0, max], max < 2³². */
  interval(max: number): number;
  /** A float in [0, 1) of 53 bits. */
  random(): number;
  /** In place. */
  shuffle<T>(items: { readonly length: number; [index: number]: T }): void;
  /** 0 … n − 1 in a random order. */
  permutation(n: number): Int32Array;
}

/** `seed` is taken modulo 2³². */
export function createRandomState(seed: number): RandomState {
  const words = new Uint32Array(size);
  words[0] = seed >>> 0;
  for (let i = 1; i < size; i++) {
    const before = word(i - 1);
    words[i] = Math.imul(1812433253, before ^ (before >>> 30)) + i;
  }
  let at = size;

  function word(i: number): number {
    return words[i] as number;
  }

  function twist(): void {
    for (let i = 0; i < size; i++) {
      const y = (word(i) & 0x80000000) | (word((i + 1) % size) & 0x7fffffff);
      words[i] = word((i + shift) % size) ^ (y >>> 1) ^ ((y & 1) === 0 ? 0 : 0x9908b0df);
    }
    at = 0;
  }

  function nextUint32(): number {
    if (at === size) twist();
    let y = word(at++);
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    y ^= y >>> 18;
    return y >>> 0;
  }

  function interval(max: number): number {
    if (max === 0) return 0;
    const mask = 0xffffffff >>> Math.clz32(max);
    let value = (nextUint32() & mask) >>> 0;
    while (value > max) value = (nextUint32() & mask) >>> 0;
    return value;
  }

  function shuffle<T>(items: { readonly length: number; [index: number]: T }): void {
    for (let i = items.length - 1; i > 0; i--) {
      const j = interval(i);
      const kept = items[i] as T;
      items[i] = items[j] as T;
      items[j] = kept;
    }
  }

  return {
    nextUint32,
    interval,
    random: () => ((nextUint32() >>> 5) * 67108864 + (nextUint32() >>> 6)) / 9007199254740992,
    shuffle,
    permutation(n) {
      const items = Int32Array.from({ length: n }, (_, index) => index);
      shuffle(items);
      return items;
    },
  };
}
