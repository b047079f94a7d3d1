import type { Measurement, MeasureOptions, SessionShape, WireSpec, WireTensor } from './onnx-messages.ts';

type Run = (feeds: readonly WireTensor[]) => Promise<readonly WireTensor[]>;

/** Runs of a size, at most and at least. */
const runsMax = 9;
const runsMin = 3;
/** How far a row's answer may be from what it is alone: kernels of other sizes round differently. */
const tolerance = 1e-4;

/**
 * What batches cost, and whether rows may share one: every input and output must begin with the rows, and three rows, one of them an
 * outlier, must be answered together as they are alone. Also the warm-up: each size has run before anyone asks.
 */
export async function measureSession(shape: SessionShape, run: Run, options: MeasureOptions): Promise<Measurement> {
  const fixed = shape.inputs.find((input) => input.shape[0] !== -1);
  const unsafe =
    fixed &&
    `input "${fixed.name}" has shape [${fixed.shape}], which does not begin with a number of rows that is free`;
  if (unsafe) return { curve: [], unsafe };
  const interference = await interferenceOf(shape, run).catch(
    (error) => `rows cannot be run together: ${error.message}`,
  );
  const startMs = performance.now();
  const curve: { rows: number; us: number }[] = [];
  for (const rows of interference === undefined ? options.rows : options.rows.slice(0, 1)) {
    const spentMs = performance.now() - startMs;
    const expectedMs = ((curve.at(-1)?.us ?? 0) / 1000) * 2 * runsMin;
    if (curve.length > 0 && spentMs + expectedMs > options.budgetMs) break;
    const feeds = feedsOf(shape.inputs, rows);
    const us: number[] = [];
    const untilMs = performance.now() + options.budgetMs / options.rows.length;
    while (us.length < runsMin || (us.length < runsMax && performance.now() < untilMs)) {
      const beforeMs = performance.now();
      await run(feeds);
      us.push((performance.now() - beforeMs) * 1000);
      if (us.length === 1 && performance.now() - startMs > options.budgetMs) break;
    }
    curve.push({ rows, us: us.sort((a, b) => a - b)[us.length >> 1] ?? Number.NaN });
  }
  return { curve, unsafe: interference };
}

async function interferenceOf(shape: SessionShape, run: Run): Promise<string | undefined> {
  const rows = 3;
  const feeds = feedsOf(shape.inputs, rows);
  const together = await run(feeds);
  for (const { name, shape: given } of together)
    if (given[0] !== rows) return `output "${name}" has shape [${given}] for ${rows} rows`;
  for (let row = 0; row < rows; row++) {
    const alone = await run(feeds.map((feed) => rowOf(feed, row)));
    for (const [at, output] of together.entries()) {
      const own = rowOf(output, row).data as ArrayLike<unknown>;
      const single = alone[at]?.data as ArrayLike<unknown>;
      for (let i = 0; i < own.length; i++) {
        if (!isClose(own[i], single[i]))
          return `rows change each other's answers: output "${output.name}" of a row is ${single[i]} alone and ${own[i]} beside an outlier`;
      }
    }
  }
  return undefined;
}

function isClose(a: unknown, b: unknown): boolean {
  if (typeof a !== 'number' || typeof b !== 'number') return a === b;
  return Object.is(a, b) || a === b || Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(a), Math.abs(b));
}

function rowOf({ name, type, shape, data }: WireTensor, row: number): WireTensor {
  const width = shape.slice(1).reduce((product, size) => product * size, 1);
  const values = (data as Float32Array).slice(row * width, (row + 1) * width);
  return { name, type, shape: [1, ...shape.slice(1)], data: values };
}

/** Rows of plausible numbers, the last one a hundred times as large; integers are 0, which any table has; a free dimension is 1. */
export function feedsOf(inputs: readonly WireSpec[], rows: number): WireTensor[] {
  return inputs.map(({ name, type, shape }) => {
    const dims = [rows, ...shape.slice(1).map((size) => (size === -1 ? 1 : size))];
    const count = dims.reduce((product, size) => product * size, 1);
    return { name, type, shape: dims, data: valuesOf(type, count, count / rows) };
  });
}

function valuesOf(type: string, count: number, width: number): unknown {
  // a fixed sequence in (−1.7, 1.7), so that a load measures what the one before measured
  const number = (at: number) =>
    ((((at * 2_654_435_761) % 2 ** 32) / 2 ** 32) * 3.4 - 1.7) * (at >= count - width && count > width ? 100 : 1);
  switch (type) {
    case 'float32':
      return Float32Array.from({ length: count }, (_, at) => number(at));
    case 'float64':
      return Float64Array.from({ length: count }, (_, at) => number(at));
    case 'string':
      return new Array<string>(count).fill('');
    case 'int64':
      return new BigInt64Array(count);
    case 'uint64':
      return new BigUint64Array(count);
    case 'int32':
      return new Int32Array(count);
    case 'uint32':
      return new Uint32Array(count);
    case 'int16':
      return new Int16Array(count);
    case 'int8':
      return new Int8Array(count);
    case 'uint16':
    case 'float16':
      return new Uint16Array(count);
    case 'uint8':
    case 'bool':
      return new Uint8Array(count);
    default:
      throw new Error(`inputs of ${type} are not measured`);
  }
}
