import { operatorOfUnknownWork, readModel } from '@millrace/onnx';
import type { CurvePoint } from '../domain/batching-choice.ts';
import { feedsOf } from './measure-session.ts';
import { readModelFile } from './model-file.ts';
import type { SessionShape, SessionSource, WireTensor } from './onnx-messages.ts';
import { openOnnx } from './onnx-session.ts';

/** A run on the event loop takes less than a message to a worker and back (20 to 60 µs, half of it on the event loop, too), and holds up nobody for longer than that. */
const runUsMax = 50;
/** As measured in a worker. */
const triedUsMax = 10 * runUsMax;
const tooLong = `a row takes more than ${runUsMax} µs`;
/** Of the file: opening it must not be noticed either (a model of 64 KiB takes about a millisecond). */
const fileBytesMax = 64 * 1024;
/** Every run that takes longer counts against the model's staying here; so many in a row of a few send it to the workers. */
const slowUs = 4 * runUsMax;
const slowShareMax = 0.5;
/** How much the last run weighs in the share of slow ones. */
const weight = 0.05;
/** How long it stays away before it is tried again. */
const awayMs = 10_000;
/** Before a model is measured, and of each size. */
const warmUpRuns = 20;
const measuredRuns = 5;

/** A model's session on the thread of the event loop, for runs that take less than the way to a worker. */
export interface LocalSession {
  /** Whether a run of so many rows is one of those, now. */
  takes(rows: number): boolean;
  run(feeds: readonly WireTensor[], fetches: readonly string[]): Promise<readonly WireTensor[]>;
  /** For people. */
  readonly why: string;
  release(): Promise<void>;
}

export type LocalChoice =
  | { readonly t: 'local'; readonly session: LocalSession }
  | { readonly t: 'workers'; readonly why: string };

/**
 * Opens a model here as well as in the workers when its runs are short, whatever a request says: small file, numbers of fixed width, operators whose work
 * shapes tell, and no more microseconds, as measured here, than `runUsMax`.
 */
export async function openLocal(
  source: SessionSource & { readonly bytes: number },
  shape: SessionShape,
  curve: readonly CurvePoint[],
): Promise<LocalChoice> {
  // of a worker's measurement, which whatever else runs disturbs: nothing that takes long is tried here
  const sizes = curve.filter(({ us }) => us <= triedUsMax).map(({ rows }) => rows);
  const problem = sizes.length === 0 ? tooLong : problemOf(source, shape);
  if (problem !== undefined) return { t: 'workers', why: `runs in workers: ${problem}` };
  const bytes = readModelFile(source);
  const operator = operatorOfUnknownWork(readModel(bytes));
  if (operator !== undefined)
    return { t: 'workers', why: `runs in workers: what ${operator} costs is not told by shapes alone` };
  const session = await openOnnx(bytes, 1);
  const outputs = shape.outputs.map(({ name }) => name);
  const run = (feeds: readonly WireTensor[], fetches: readonly string[]) => session.run(feeds, fetches);
  const rowsMax = await rowsWithin((rows) => timed(run, feedsOf(shape.inputs, rows), outputs), sizes);
  if (rowsMax === 0) {
    await session.release();
    return { t: 'workers', why: `runs in workers: ${tooLong}` };
  }
  const slowness = createSlowness();
  return {
    t: 'local',
    session: {
      why: `up to ${rowsMax} rows run on the event loop, where they take less than ${runUsMax} µs`,
      takes: (rows) => rows <= rowsMax && !slowness.isAway(performance.now()),
      async run(feeds, fetches) {
        const { results, us } = await timed(run, feeds, fetches);
        slowness.observe(us, performance.now());
        return results;
      },
      release: () => session.release(),
    },
  };
}

type Run = (feeds: readonly WireTensor[], fetches: readonly string[]) => Promise<readonly WireTensor[]>;

async function timed(run: Run, feeds: readonly WireTensor[], fetches: readonly string[]) {
  let startedMs = performance.now();
  // onnxruntime-node runs in an immediate: this one is just before it
  setImmediate(() => {
    startedMs = performance.now();
  });
  const results = await run(feeds, fetches);
  return { results, us: (performance.now() - startedMs) * 1000 };
}

/** The largest of the sizes whose fastest run is short; 0: none. The fastest, as what disturbs a run is not the model; the first are slow for all. */
export async function rowsWithin(
  run: (rows: number) => Promise<{ readonly us: number }>,
  sizes: readonly number[],
): Promise<number> {
  for (let warming = 0; warming < warmUpRuns; warming++) await run(1);
  let rowsMax = 0;
  for (const rows of sizes) {
    let leastUs = Number.POSITIVE_INFINITY;
    for (let tries = 0; tries < measuredRuns; tries++) leastUs = Math.min(leastUs, (await run(rows)).us);
    if (leastUs > runUsMax) return rowsMax;
    rowsMax = rows;
  }
  return rowsMax;
}

function problemOf(
  { format, bytes }: SessionSource & { readonly bytes: number },
  shape: SessionShape,
): string | undefined {
  if (format !== 'onnx') return `its format is ${format}`;
  if (bytes > fileBytesMax) return `its file has more than ${fileBytesMax / 1024} KiB`;
  const odd = [...shape.inputs, ...shape.outputs].find(({ type }) => !types.has(type));
  if (odd) return `"${odd.name}" is ${odd.type}`;
  const free = shape.inputs.find((input) => input.shape.slice(1).includes(-1));
  return free && `input "${free.name}" has shape [${free.shape}]: how much a row is differs`;
}

/** float16 is read only where there is no Float16Array (`half-floats.ts`); texts have any length. */
const types: ReadonlySet<string> = new Set(['float32', 'float64', 'int64', 'int32', 'int16', 'int8', 'uint8', 'bool']);

/** A processor that has become slower, or values that cost more than those it was measured with: the workers bear that better. */
export function createSlowness() {
  let share = 0;
  let awayUntilMs = Number.NEGATIVE_INFINITY;
  return {
    isAway: (nowMs: number) => nowMs < awayUntilMs,
    observe(us: number, nowMs: number): void {
      share += weight * ((us > slowUs ? 1 : 0) - share);
      if (share <= slowShareMax) return;
      share = 0;
      awayUntilMs = nowMs + awayMs;
    },
  };
}
