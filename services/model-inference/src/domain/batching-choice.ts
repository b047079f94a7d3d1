/** How requests of a model share runs, and why. */
export interface BatchingChoice {
  /** Rows of a batch; 1: each request runs alone. */
  readonly rowsMax: number;
  /** How long a request waits for company although a worker is free. */
  readonly delayMs: number;
  /** What a run is expected to cost: fixedMs + rowMs × rows. */
  readonly cost: { readonly fixedMs: number; readonly rowMs: number };
  /** For people. */
  readonly why: string;
  /** Why requests may not share a run, when they may not. */
  readonly unsafe: string | undefined;
  /** What was measured at load. */
  readonly curve: readonly CurvePoint[];
}

export interface CurvePoint {
  readonly rows: number;
  /** Microseconds of a run of so many rows. */
  readonly us: number;
}

/** What the definition says; what it leaves out is measured. */
export interface DeclaredBatching {
  readonly rowsMax: number | undefined;
  readonly delayMs: number | undefined;
}

/** Sizes that are measured at load. */
export const measuredRows = [1, 2, 4, 8, 16, 32, 64, 128] as const;

/** What a run costs beside the model: the message to the worker and back. */
const hopUs = 30;
/** A batch holds its worker at most so long, so that others get their turn. */
const runUsMax = 50_000;
/** Larger batches must make a row cheaper by more than this to be worth their wait. */
const gain = 1.1;

/** The smallest batch whose rows cost about as little as rows can; what is declared goes before what is measured. */
export function chooseBatching(
  declared: DeclaredBatching,
  curve: readonly CurvePoint[],
  unsafe: string | undefined,
): BatchingChoice {
  const rowUs = ({ rows, us }: CurvePoint) => (us + hopUs) / rows;
  const first = curve[0];
  const cost = costOf(curve);
  const chosen = { delayMs: declared.delayMs ?? 0, cost, unsafe, curve };
  if (unsafe !== undefined) {
    const overruled =
      declared.rowsMax !== undefined && declared.rowsMax > 1 ? `; declared ${declared.rowsMax} is not taken` : '';
    return { ...chosen, rowsMax: 1, delayMs: 0, why: `requests are not batched${overruled}: ${unsafe}` };
  }
  if (declared.rowsMax !== undefined)
    return { ...chosen, rowsMax: declared.rowsMax, why: `at most ${declared.rowsMax} rows, as declared` };
  if (!first) return { ...chosen, rowsMax: 1, delayMs: 0, why: 'requests are not batched: nothing was measured' };
  const allowed = curve.filter(({ rows, us }) => rows === 1 || us <= runUsMax);
  const least = Math.min(...allowed.map(rowUs));
  const best = allowed.find((point) => rowUs(point) <= gain * least) ?? first;
  if (best.rows === 1)
    return {
      ...chosen,
      rowsMax: 1,
      delayMs: 0,
      why: `requests are not batched: a row alone takes ${text(rowUs(first))} and is not cheaper in company`,
    };
  return {
    ...chosen,
    rowsMax: best.rows,
    why: `at most ${best.rows} rows: a row takes ${text(rowUs(best))} then and ${text(rowUs(first))} alone; larger batches gain less than ${Math.round((gain - 1) * 100)} %`,
  };
}

function costOf(curve: readonly CurvePoint[]) {
  const [first, last] = [curve[0], curve.at(-1)];
  if (!first || !last) return { fixedMs: 0, rowMs: 0 };
  const rowUs = last.rows > first.rows ? Math.max(0, (last.us - first.us) / (last.rows - first.rows)) : 0;
  return { fixedMs: Math.max(0, first.us - rowUs + hopUs) / 1000, rowMs: rowUs / 1000 };
}

function text(us: number): string {
  return us < 1000 ? `${us.toFixed(us < 10 ? 1 : 0)} µs` : `${(us / 1000).toFixed(1)} ms`;
}
