import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { quantizeOrt } from '@millrace/onnx';
import { denseModel } from '@millrace/onnx/testing';
import type { BenchCases, BenchContext } from '../bench.ts';

const folder = join(import.meta.dirname, '..', '..', '..', 'libs', 'onnx', 'src', 'fixtures', 'quantize');

interface QuantizeCase {
  readonly name: string;
  readonly quantized: string;
  readonly inferred: boolean;
  readonly options: {
    readonly per_channel?: boolean;
    readonly reduce_range?: boolean;
    readonly nodes_to_exclude?: readonly string[];
  };
}

/**
 * The fixtures that onnxruntime's quantize_dynamic wrote: how many files are the same byte for byte, of those whose shapes were inferred
 * (`byte_equal` is 1 when all are). And a model of 100 MB: seconds, and by how much the process grew.
 */
export async function measureQuantizer({ progress, signal }: BenchContext): Promise<BenchCases> {
  signal.throwIfAborted();
  progress('B17: fixtures of quantize_dynamic');
  const { cases } = JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8')) as { cases: readonly QuantizeCase[] };
  const compared = cases.filter(({ inferred }) => inferred);
  const equal = compared.filter(({ name, quantized, options }) => {
    const ours = quantizeOrt(readFileSync(join(folder, `${name}.onnx`)), {
      perChannel: options.per_channel ?? false,
      reduceRange: options.reduce_range ?? false,
      exclude: options.nodes_to_exclude ?? [],
    });
    return Buffer.compare(ours, readFileSync(join(folder, quantized))) === 0;
  });
  progress('B17: 100 MB');
  const large = denseModel({ widths: [2048, 4096, 4096, 128], opset: 17 });
  const before = process.memoryUsage().rss;
  const startMs = performance.now();
  const made = quantizeOrt(large);
  const seconds = (performance.now() - startMs) / 1_000;
  return {
    B17: {
      files: compared.length,
      equal: equal.length,
      byte_equal: compared.length > 0 && equal.length === compared.length ? 1 : 0,
      model_mb: Math.round(large.length / 1e6),
      size_ratio: Math.round((made.length / large.length) * 1_000) / 1_000,
      seconds: Math.round(seconds * 100) / 100,
      grown_mb: Math.round((process.memoryUsage().rss - before) / 1e6),
    },
  };
}
