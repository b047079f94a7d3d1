/** What a benchmark gets. */
export type BenchContext = {
  readonly args: readonly string[];
  /** Tells people what is going on, on stderr. */
  readonly progress: (text: string) => void;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
};

/** What it measured: `{ "<case>": { "<metric>": number } }`. */
export type BenchCases = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** A module of this folder that is a benchmark. */
export type Bench = { readonly run: (context: BenchContext) => Promise<BenchCases> };

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? Number.NaN) + high) / 2;
}
