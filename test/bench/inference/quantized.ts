import { quantizeOrt, quantizeRowWise } from '@millrace/onnx';
import { denseModel } from '@millrace/onnx/testing';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { type BenchCases, type BenchContext, median } from '../bench.ts';

const shapes: Readonly<Record<string, readonly number[]>> = {
  B6: [512, 1024, 512, 8],
  'B6 ffn': [768, 3072, 768],
};
const batches: readonly number[] = [1, 8, 32, 128];
const runMs = 400;

type Run = (rows: number, from?: number) => Promise<Float32Array>;

/**
 * fp32 against INT8, row-wise and as onnxruntime writes it, one thread, runs interleaved: medians in µs by batch, how many times as fast
 * (`speedup_b<rows>`), size, signal to noise, and the largest difference of a row's answer in a batch of 64, with an outlier in it, from alone.
 */
export async function measureQuantized({ progress, signal }: BenchContext): Promise<BenchCases> {
  const cases: Record<string, Record<string, number>> = {};
  for (const [name, widths] of Object.entries(shapes)) {
    signal.throwIfAborted();
    progress(`${name}: ${widths.join('-')}`);
    const bytes = denseModel({ widths, opset: 17 });
    const rowWise = quantizeRowWise(bytes).bytes;
    const ort = quantizeOrt(bytes);
    const width = widths[0] ?? 1;
    const runs = await Promise.all([bytes, rowWise, ort].map((model) => open(model, width)));
    const [float, row, tensor] = runs as [Run, Run, Run];
    const figures: Record<string, number> = {
      size_ratio: round(rowWise.length / bytes.length),
      batch_variance: await varianceOf(row),
      batch_variance_ort: await varianceOf(tensor),
      batch_variance_fp32: await varianceOf(float),
      sqnr_db: round(sqnrOf(await float(63, 1), await row(63, 1))),
      sqnr_db_ort: round(sqnrOf(await float(63, 1), await tensor(63, 1))),
    };
    for (const rows of batches) {
      signal.throwIfAborted();
      const [floatUs = 0, rowUs = 0, ortUs = 0] = await timesOf(runs, rows);
      Object.assign(figures, {
        [`fp32_b${rows}_us`]: Math.round(floatUs),
        [`rowwise_b${rows}_us`]: Math.round(rowUs),
        [`ort_b${rows}_us`]: Math.round(ortUs),
        [`speedup_b${rows}`]: round(floatUs / rowUs),
      });
    }
    cases[name] = figures;
  }
  return cases;
}

async function open(bytes: Uint8Array, width: number): Promise<Run> {
  const session = await InferenceSession.create(bytes, {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  });
  const values = Float32Array.from({ length: 128 * width }, (_, at) => (at < width ? 100 : 1) * Math.sin(at * 12.9898));
  return async (rows, from = 0) => {
    const { Y } = await session.run({
      X: new Tensor('float32', values.subarray(from * width, (from + rows) * width), [rows, width]),
    });
    if (!Y) throw new Error('the model has no output Y');
    return Y.data as Float32Array;
  };
}

async function varianceOf(run: Run): Promise<number> {
  const together = await run(64);
  const width = together.length / 64;
  let most = 0;
  for (let row = 0; row < 64; row++)
    for (const [at, value] of (await run(1, row)).entries())
      most = Math.max(most, Math.abs(value - (together[row * width + at] ?? Number.NaN)));
  return most;
}

/** Interleaved, so that what else the machine does meets all of them. */
async function timesOf(runs: readonly Run[], rows: number): Promise<number[]> {
  const times = runs.map((): number[] => []);
  for (const run of runs) for (let warm = 0; warm < 5; warm++) await run(rows);
  const startMs = performance.now();
  while (performance.now() - startMs < runMs * runs.length) {
    for (const [at, run] of runs.entries()) {
      const fromMs = performance.now();
      await run(rows);
      times[at]?.push((performance.now() - fromMs) * 1_000);
    }
  }
  return times.map(median);
}

function sqnrOf(original: Float32Array, quantized: Float32Array): number {
  let [signal, noise] = [0, 0];
  for (const [at, value] of original.entries()) {
    signal += value ** 2;
    noise += (value - (quantized[at] ?? Number.NaN)) ** 2;
  }
  return 10 * Math.log10(signal / noise);
}

function round(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
