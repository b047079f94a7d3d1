import { gateLimits, gateProblems, type LayerDecision, type OutputReport, reportOutput } from '@millrace/onnx';
import type { Samples } from './model-samples.ts';
import type { ModelSession, RunOutput } from './model-session.ts';

export interface QuantizeReport {
  readonly form: string;
  readonly rows: number;
  readonly bytes: number;
  readonly quantizedBytes: number;
  readonly sizeRatio: number;
  /** Medians of one run, in microseconds, and how many times as fast the quantized model is. */
  readonly speed: readonly {
    readonly rows: number;
    readonly us: number;
    readonly quantizedUs: number;
    readonly times: number;
  }[];
  readonly outputs: readonly OutputReport[];
  /** The largest difference of a row's answer in a batch from its answer alone. */
  readonly batchVariance: { readonly original: number; readonly quantized: number };
  /** What became of each layer; with its signal to noise ratio when it alone is quantized, where that was measured. */
  readonly layers: readonly MeasuredLayer[];
  readonly passed: boolean;
  readonly problems: readonly string[];
}

export interface MeasuredLayer extends LayerDecision {
  readonly sqnrDb?: number;
}

const batchRows = 64;
const varianceRowsMax = 256;
const speedMs = 300;
const speedRunsMax = 200;

/** Both models on the same rows. */
export async function compareModels(of: {
  readonly form: string;
  readonly original: ModelSession;
  readonly quantized: ModelSession;
  readonly bytes: number;
  readonly quantizedBytes: number;
  readonly samples: Samples;
  readonly layers: readonly MeasuredLayer[];
}): Promise<QuantizeReport> {
  const { form, original, quantized, bytes, quantizedBytes, samples, layers } = of;
  const { rows } = samples;
  const [before, after] = [await allRows(original, samples), await allRows(quantized, samples)];
  const outputs = [...before].map(([output, values]) =>
    reportOutput({
      output,
      rows,
      original: values.values,
      quantized: after.get(output)?.values ?? [],
      isLabel: values.isLabel,
    }),
  );
  const batchVariance = {
    original: await varianceOf(original, samples),
    quantized: await varianceOf(quantized, samples),
  };
  const speed = [];
  for (const size of [1, 32].filter((count) => count <= rows)) {
    const [us, quantizedUs] = [await timeOf(original, samples, size), await timeOf(quantized, samples, size)];
    speed.push({ rows: size, us, quantizedUs, times: us / quantizedUs });
  }
  // the form of onnxruntime depends on the batch by design: it is served unbatched
  const problems = gateProblems(outputs, rows, form === 'rowwise' ? batchVariance : undefined, gateLimits);
  return {
    form,
    rows,
    bytes,
    quantizedBytes,
    sizeRatio: quantizedBytes / bytes,
    speed,
    outputs,
    batchVariance,
    layers,
    passed: problems.length === 0,
    problems,
  };
}

/** The answers of a model to all samples, by output. */
export async function allRows(session: ModelSession, samples: Samples): Promise<Map<string, RunOutput>> {
  const parts = new Map<string, { values: (number | string)[]; isLabel: boolean }>();
  for (let from = 0; from < samples.rows; from += batchRows) {
    const outputs = await session.run(samples, from, Math.min(samples.rows, from + batchRows));
    for (const [name, { values, isLabel }] of outputs) {
      const part = parts.get(name) ?? { values: [], isLabel };
      parts.set(name, part);
      for (let at = 0; at < values.length; at++) part.values.push(values[at] ?? Number.NaN);
    }
  }
  return parts as Map<string, RunOutput>;
}

async function varianceOf(session: ModelSession, samples: Samples): Promise<number> {
  const rows = Math.min(samples.rows, varianceRowsMax);
  let most = 0;
  for (let from = 0; from < rows; from += batchRows) {
    const to = Math.min(rows, from + batchRows);
    const together = await session.run(samples, from, to);
    for (let row = from; row < to; row++)
      for (const [name, { values, isLabel }] of await session.run(samples, row, row + 1)) {
        const all = together.get(name)?.values ?? [];
        for (let at = 0; at < values.length; at++) {
          const other = all[(row - from) * values.length + at];
          if (isLabel) most = values[at] === other ? most : Math.max(most, 1);
          else most = Math.max(most, Math.abs(Number(values[at]) - Number(other)) || 0);
        }
      }
  }
  return most;
}

async function timeOf(session: ModelSession, samples: Samples, rows: number): Promise<number> {
  for (let run = 0; run < 5; run++) await session.run(samples, 0, rows);
  const times: number[] = [];
  const startMs = performance.now();
  while (times.length < speedRunsMax && (times.length < 5 || performance.now() - startMs < speedMs)) {
    const fromMs = performance.now();
    await session.run(samples, 0, rows);
    times.push((performance.now() - fromMs) * 1_000);
  }
  return times.sort((a, b) => a - b)[times.length >> 1] ?? Number.NaN;
}
