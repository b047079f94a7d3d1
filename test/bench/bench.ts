import { parseArgs } from 'node:util';

/** An option and what it is unless it is given; `false` for one that takes no value. */
export type BenchOption = { readonly default: string | number | false; readonly says: string };

/** What may be named on the command line; without it a benchmark takes nothing but --json and --help. */
export type BenchUsage = {
  /** Parts of it that can be run alone. */
  readonly cases?: readonly string[];
  readonly options?: Readonly<Record<string, BenchOption>>;
};

/** What a benchmark gets. */
export type BenchContext = {
  /** Those that were named; none: all of them. */
  readonly only: readonly string[];
  readonly text: (option: string) => string;
  readonly number: (option: string) => number;
  readonly flag: (option: string) => boolean;
  /** Tells people what is going on, on stderr. */
  readonly progress: (text: string) => void;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
};

/** What it measured: `{ "<case>": { "<metric>": number } }`. */
export type BenchCases = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** A module of this folder that is a benchmark. */
export type Bench = { readonly usage?: BenchUsage; readonly run: (context: BenchContext) => Promise<BenchCases> };

export type BenchArguments = Pick<BenchContext, 'only' | 'text' | 'number' | 'flag'> & {
  readonly json: boolean;
  readonly help: boolean;
};

/** Throws an Error that names the argument that is unknown, or the number that is none. */
export function parseBenchArguments(args: readonly string[], { cases = [], options = {} }: BenchUsage): BenchArguments {
  const flag = { type: 'boolean', default: false } as const;
  const own = Object.entries(options).map(([name, { default: usual }]) => [
    name,
    usual === false ? flag : ({ type: 'string', default: String(usual) } as const),
  ]);
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { ...Object.fromEntries(own), json: flag, help: { ...flag, short: 'h' } } as Record<
      string,
      { type: 'boolean' | 'string'; default: boolean | string; short?: string }
    >,
  });
  const unknown = positionals.find((name) => !cases.includes(name));
  if (unknown !== undefined)
    throw new Error(`unknown argument "${unknown}"${cases.length === 0 ? '' : `; use some of: ${cases.join(', ')}`}`);
  for (const [name, { default: usual }] of Object.entries(options)) {
    const given = values[name];
    if (typeof usual === 'number' && !(given !== '' && Number(given) > 0))
      throw new Error(`--${name} is "${given}"; give a number above 0`);
  }
  return {
    only: positionals,
    text: (option) => String(values[option]),
    number: (option) => Number(values[option]),
    flag: (option) => values[option] === true,
    json: values.json === true,
    help: values.help === true,
  };
}

/** A benchmark's arguments, a line each. */
export function usageOf(name: string, { cases = [], options = {} }: BenchUsage): string {
  const lines = Object.entries(options).map(([option, { default: usual, says }]) =>
    usual === false ? `  --${option}: ${says}` : `  --${option} ${usual}: ${says}`,
  );
  const named = cases.length === 0 ? [] : [`  ${cases.join(' ')}: run some of them alone`];
  return [`npm run bench -- ${name} [--json] [arguments]`, ...named, ...lines, ''].join('\n');
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? high : ((sorted[middle - 1] ?? Number.NaN) + high) / 2;
}
