import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { batchingOf } from '../batch-safety.ts';
import { readModel } from '../model.ts';
import { denseModel } from '../testing/dense-model.ts';
import { quantizeOrt } from './ort.ts';
import { quantizeRowWise } from './row-wise.ts';

const rows = 64;
/** Rows of one spread, and one that is far out: it is what moves others where they share a scale. */
const values = Float32Array.from({ length: rows * 64 }, (_, at) => (at < 64 ? 100 : 1) * Math.sin(at * 12.9898) * 2);

async function open(bytes: Uint8Array) {
  const session = await InferenceSession.create(bytes, { intraOpNumThreads: 1 });
  return async (from: number, to: number): Promise<Float32Array> => {
    const { Y } = await session.run({ X: new Tensor('float32', values.slice(from * 64, to * 64), [to - from, 64]) });
    if (!Y) throw new Error('no output Y');
    return Y.data as Float32Array;
  };
}

/** The largest difference of a row's answer in a batch of 64, 7 and 2 from the row's alone. */
async function batchVariance(bytes: Uint8Array): Promise<number> {
  const run = await open(bytes);
  let most = 0;
  for (const size of [64, 7, 2])
    for (let from = 0; from < rows; from += size) {
      const to = Math.min(rows, from + size);
      const together = await run(from, to);
      const width = together.length / (to - from);
      for (let row = from; row < to; row++)
        for (const [at, value] of (await run(row, row + 1)).entries())
          most = Math.max(most, Math.abs(value - (together[(row - from) * width + at] ?? Number.NaN)));
    }
  return most;
}

function sqnr(original: Float32Array, quantized: Float32Array): number {
  let signal = 0;
  let noise = 0;
  for (const [at, value] of original.entries()) {
    signal += value ** 2;
    noise += (value - (quantized[at] ?? Number.NaN)) ** 2;
  }
  return 10 * Math.log10(signal / noise);
}

test.each([17, 18])(
  'answers of opset %i do not depend on the batch, in the form of onnxruntime they do',
  async (opset) => {
    const model = denseModel({ widths: [64, 128, 64, 8], opset });
    const { bytes, layers } = quantizeRowWise(model, { weightValuesMin: 1 });
    expect(layers.map(({ node, decision }) => [node, decision])).toEqual([
      ['dense1', 'quantized'],
      ['dense2', 'quantized'],
      ['dense3', 'quantized'],
    ]);
    expect(batchingOf(readModel(bytes))).toEqual({ t: 'safe' });
    expect(await batchVariance(bytes)).toBe(0);
    const ort = quantizeOrt(model);
    expect(batchingOf(readModel(ort)).t).toBe('unsafe');
    expect(await batchVariance(ort)).toBeGreaterThan(1e-3);
    const [float, rowWise] = await Promise.all([model, bytes].map(async (one) => (await open(one))(1, rows)));
    expect(sqnr(float ?? new Float32Array(), rowWise ?? new Float32Array())).toBeGreaterThan(25);
  },
);

test('rows of zeros are as in the original, and rows without numbers stay so', async () => {
  const model = denseModel({ widths: [64, 4], opset: 17 });
  const session = await InferenceSession.create(quantizeRowWise(model, { weightValuesMin: 1 }).bytes);
  const original = await InferenceSession.create(model);
  const input = new Float32Array(3 * 64).fill(Number.NaN, 64, 128).fill(1, 128);
  const feeds = { X: new Tensor('float32', input, [3, 64]) };
  const given = (await session.run(feeds)).Y?.data as Float32Array;
  const wanted = (await original.run(feeds)).Y?.data as Float32Array;
  expect([...given.slice(0, 4)]).toEqual([...wanted.slice(0, 4)]);
  expect([...given.slice(4, 8)].every(Number.isNaN)).toBe(true);
  for (let at = 8; at < 12; at++) expect(Math.abs((given[at] ?? 0) - (wanted[at] ?? 1))).toBeLessThan(0.1);
});

test('small and excluded layers stay as they are, and unknown ones are named', () => {
  const model = denseModel({ widths: [64, 128, 64, 8], opset: 17 });
  const { layers } = quantizeRowWise(model, { weightValuesMin: 1_000, exclude: ['dense2'] });
  expect(layers.map(({ decision }) => decision)).toEqual(['quantized', 'excluded', 'small']);
  expect(() => quantizeRowWise(model, { exclude: ['nope'] })).toThrow('the model has no node "nope" to exclude');
});

test('a model of 512, 1024 and 512 is a third of its size or less', () => {
  const model = denseModel({ widths: [512, 1024, 512, 8], opset: 17 });
  expect(quantizeRowWise(model).bytes.length / model.length).toBeLessThan(0.3);
});

test('embeddings and others of the fixtures load with the same inputs and outputs', async () => {
  const folder = join(import.meta.dirname, '..', 'fixtures', 'quantize');
  for (const name of ['mlp', 'shared', 'embedding', 'conv', 'rank3']) {
    const model = readFileSync(join(folder, `${name}.onnx`));
    const { bytes } = quantizeRowWise(model, { weightValuesMin: 1 });
    const [before, after] = await Promise.all([model, bytes].map((one) => InferenceSession.create(one)));
    expect(after?.inputNames).toEqual(before?.inputNames);
    expect(after?.outputNames).toEqual(before?.outputNames);
  }
});
