import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { MeshError } from '@millrace/kernel';
import {
  gateLimits,
  int8Saturates,
  type LayerDecision,
  quantizeOrt,
  quantizeRowWise,
  storeFloat16,
  wilsonLower,
} from '@millrace/onnx';
import type { CommonOptions } from './context.ts';
import { layersToExclude } from './exclude-layers.ts';
import { readSamples, type Samples } from './model-samples.ts';
import { type ModelSession, openModel } from './model-session.ts';
import { compareModels, type MeasuredLayer, type QuantizeReport } from './quantize-report.ts';

export const forms = ['rowwise', 'ort', 'fp16'] as const;

export interface QuantizeOptions extends CommonOptions {
  readonly form: (typeof forms)[number];
  readonly samples: string;
  readonly out: string;
  readonly exclude?: readonly string[];
  readonly autoExclude?: boolean;
  readonly minWeights?: number;
  readonly perChannel?: boolean;
  readonly reduceRange?: boolean;
}

/** Writes the smaller model and its report when it answers the samples as the original does. */
export async function quantizeFile(path: string, options: QuantizeOptions): Promise<QuantizeReport> {
  const { form, autoExclude = false } = options;
  if (autoExclude && form !== 'rowwise')
    throw new MeshError(
      'INVALID_ARGUMENT',
      `--auto-exclude is for the form rowwise, not ${form}; name nodes with --exclude`,
      { form },
    );
  const bytes = await readModelFile(path);
  const original = await openModel(bytes, `"${path}"`);
  try {
    const samples = await readSamples(options.samples, original.inputs);
    if (samples.rows === 0)
      throw new MeshError('INVALID_ARGUMENT', `"${options.samples}" has no rows`, { path: options.samples });
    const compared = (made: Quantized) => compare(form, original, bytes, made, samples);
    let made = smaller(path, bytes, options);
    let report = await compared(made);
    if (autoExclude && !report.passed && provesAnything(samples.rows)) {
      const { exclude, sqnrDb } = await layersToExclude({
        ...{ layers: made.layers, original, samples },
        make: (some) => openModel(quantized(bytes, withExcluded(options, some)).bytes, 'the quantized model'),
      });
      made = smaller(path, bytes, withExcluded(options, exclude));
      report = await compared({
        ...made,
        layers: made.layers.map((layer) => {
          const alone = sqnrDb.get(layer.node);
          return alone === undefined ? layer : { ...layer, sqnrDb: alone };
        }),
      });
    }
    if (report.passed) {
      await writeFile(options.out, made.bytes);
      await writeFile(`${options.out}.quantization.json`, `${JSON.stringify(report, null, 2)}\n`);
    }
    return report;
  } finally {
    await original.close();
  }
}

async function compare(
  form: QuantizeOptions['form'],
  original: ModelSession,
  bytes: Uint8Array,
  made: Quantized,
  samples: Samples,
): Promise<QuantizeReport> {
  const session = await openModel(made.bytes, 'the quantized model');
  try {
    return await compareModels({
      ...{ form, original, samples, layers: made.layers },
      quantized: session,
      bytes: bytes.length,
      quantizedBytes: made.bytes.length,
    });
  } finally {
    await session.close();
  }
}

/** With fewer rows the gate fails whatever is left out. */
function provesAnything(rows: number): boolean {
  return rows >= gateLimits.rowsMin && wilsonLower(rows, rows) >= gateLimits.agreementMin;
}

function withExcluded(options: QuantizeOptions, exclude: readonly string[]): QuantizeOptions {
  return { ...options, exclude: [...(options.exclude ?? []), ...exclude] };
}

interface Quantized {
  readonly bytes: Uint8Array;
  readonly layers: readonly MeasuredLayer[];
}

function smaller(path: string, bytes: Uint8Array, options: QuantizeOptions): Quantized {
  const made = quantized(bytes, options);
  if (made.bytes.length < bytes.length) return made;
  throw new MeshError(
    'INVALID_ARGUMENT',
    `nothing in "${path}" gets smaller in the form ${options.form}${reasons(made.layers)}`,
    { path, form: options.form },
  );
}

function quantized(bytes: Uint8Array, options: QuantizeOptions): Quantized {
  const { exclude = [], minWeights, perChannel = false, reduceRange = false } = options;
  if (options.form === 'fp16') return { bytes: storeFloat16(bytes).bytes, layers: [] };
  if (options.form === 'ort') return { bytes: quantizeOrt(bytes, { exclude, perChannel, reduceRange }), layers: [] };
  return quantizeRowWise(bytes, {
    exclude,
    reduceRange: options.reduceRange ?? int8Saturates(process.arch, cpuInfo()),
    ...(minWeights === undefined ? {} : { weightValuesMin: minWeights }),
  });
}

function cpuInfo(): string {
  try {
    return readFileSync('/proc/cpuinfo', 'utf8');
  } catch {
    return '';
  }
}

function reasons(layers: readonly LayerDecision[]): string {
  if (layers.length === 0) return '; only float32 weights of MatMul and Gemm do';
  const each = layers.map(({ node, weightValues, decision }) => `${node} (${weightValues} weights): ${decision}`);
  return `: ${each.join(', ')}; --min-weights lowers the limit`;
}

export async function readModelFile(path: string): Promise<Uint8Array> {
  return readFile(path).catch((cause) => {
    throw new MeshError('INVALID_ARGUMENT', `"${path}" cannot be read: ${cause.message}`, { path }, { cause });
  });
}
