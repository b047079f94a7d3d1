import { MeshError } from '@millrace/kernel';
import type { ServingPlan } from './serving-plan.ts';

/** How requests of a model share runs, and why. */
export interface BatchingChoice {
  /** Rows of a batch; 1: each request runs alone. */
  readonly rowsMax: number;
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

/** Sizes that are measured at load. */
export function measuredRows(rowsMax: number): number[] {
  const powers = Array.from({ length: Math.floor(Math.log2(rowsMax)) + 1 }, (_, at) => 2 ** at);
  return powers.at(-1) === rowsMax ? powers : [...powers, rowsMax];
}

/** As a configuration says; INVALID_ARGUMENT where it asks for batches of a model whose rows change each other's answers. */
export function plannedBatching(
  model: string,
  { rowsMax, batching }: Pick<ServingPlan, 'rowsMax' | 'batching'>,
  curve: readonly CurvePoint[],
  unsafe: string | undefined,
): BatchingChoice {
  const choice = { cost: costOf(curve), unsafe, curve };
  if (!batching)
    return { ...choice, rowsMax: 1, why: 'requests are not batched: the configuration has no dynamic_batching' };
  if (unsafe === undefined) return { ...choice, rowsMax, why: `at most ${rowsMax} rows, as configured` };
  throw new MeshError(
    'INVALID_ARGUMENT',
    `configuration of model "${model}": dynamic_batching cannot be done, because ${unsafe}; leave it out`,
    { model, field: 'dynamic_batching' },
  );
}

/** What a run costs beside the model: the message to the worker and back. */
const hopUs = 30;
/** A batch holds its worker at most so long, so that others get their turn. */
const runUsMax = 50_000;
/** Larger batches must make a row cheaper by more than this to be worth their wait. */
const gain = 1.1;

/** The smallest batch whose rows cost about as little as rows can, up to the limit. */
export function chooseBatching(
  rowsMax: number,
  curve: readonly CurvePoint[],
  unsafe: string | undefined,
): BatchingChoice {
  const alone = (why: string): BatchingChoice => ({
    ...{ rowsMax: 1, cost: costOf(curve), unsafe, curve },
    why: `requests are not batched: ${why}`,
  });
  if (unsafe !== undefined) return alone(unsafe);
  const first = curve[0];
  if (rowsMax === 1 || !first) return alone('a batch may have one row');
  const allowed = curve.filter(({ rows, us }) => rows === 1 || us <= runUsMax);
  const least = Math.min(...allowed.map(rowUs));
  const best = allowed.find((point) => rowUs(point) <= gain * least) ?? first;
  if (best.rows === 1) return alone(`a row takes ${text(rowUs(first))} and is not cheaper in company`);
  const saves = `a row takes ${text(rowUs(best))} then and ${text(rowUs(first))} alone`;
  const largest =
    allowed.at(-1)?.rows === best.rows ? '' : `; larger batches gain less than ${Math.round((gain - 1) * 100)} %`;
  return {
    ...{ rowsMax: best.rows, cost: costOf(curve), unsafe, curve },
    why: `at most ${best.rows} rows: ${saves}${largest}`,
  };
}

function rowUs({ rows, us }: CurvePoint): number {
  return (us + hopUs) / rows;
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
