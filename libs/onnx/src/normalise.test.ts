import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { normaliseOnnx } from './normalise.ts';
import { delimited, textField, varintField } from './wire.ts';

const fixture = (name: string) => readFileSync(join(import.meta.dirname, 'fixtures', `${name}.onnx`));
const served = (name: string) =>
  readFileSync(join(import.meta.dirname, '..', '..', '..', 'test', 'fixtures', 'onnx', `${name}.onnx`));

async function run(bytes: Uint8Array, values: readonly number[]) {
  const session = await InferenceSession.create(bytes);
  const { Y } = await session.run({ X: new Tensor('float32', Float32Array.from(values), [values.length / 2, 2]) });
  return { dims: Y?.dims, data: Array.from((Y?.data ?? []) as Float32Array) };
}

test.each([
  ['sequence', [3, 2, 1], 'output "Y" is one tensor instead of a sequence'],
  ['split', [3, 2], 'output "Y" is one tensor instead of a sequence'],
  ['bfloat16', [3, 2], 'input "X" is float32 instead of bfloat16'],
])('%s is served as a tensor whose rows are those that were given', async (name, dims, change) => {
  const { bytes, facts } = normaliseOnnx(fixture(name));
  expect(facts.changes).toContain(change);
  expect(await run(bytes, [1, 2, -3, 4, 0.5, 6])).toEqual({ dims, data: [1, 2, -3, 4, 0.5, 6] });
});

test('a ZipMap is its tensor, and its classes are told', () => {
  const { facts } = normaliseOnnx(served('logistic-zipmap'));
  expect(facts).toMatchObject({
    irVersion: 9,
    opsets: { 'ai.onnx': 17, 'ai.onnx.ml': 1 },
    producer: 'skl2onnx',
    producerVersion: expect.stringMatching(/^\d+\.\d+/),
    labels: { output_probability: ['0', '1'] },
    changes: ['output "output_probability" is a tensor instead of maps (ZipMap)'],
  });
});

test("LightGBM's labels, which its exporter says are one, are as many as the rows", async () => {
  const { bytes, facts } = normaliseOnnx(served('frameworks/lightgbm-classifier'));
  expect(facts.changes).toContain('output "label" has as many rows as the inputs instead of one');
  expect(facts.batching).toEqual({ t: 'safe' });
  const session = await InferenceSession.create(bytes);
  expect(session.outputMetadata[0]).toMatchObject({ name: 'label', shape: [expect.any(String)] });
  const { label } = await session.run({ input: new Tensor('float32', new Float32Array(12), [3, 4]) });
  expect(label?.dims).toEqual([3]);
});

test('a model that needs nothing stays the bytes that it is, and says what it says of itself', () => {
  const bytes = fixture('fixed-batch');
  const normalised = normaliseOnnx(bytes);
  expect(normalised.bytes).toBe(bytes);
  expect(normalised.facts).toMatchObject({
    irVersion: 8,
    producer: 'edges',
    producerVersion: '7',
    metadata: { framework: 'none 1.0' },
    changes: [],
  });
});

test.each([
  ['map-input', 'has input "X", which is a map; only tensors are served; export it with tensors as inputs'],
  ['optional', 'has output "Y", which is an optional; only tensors are served; export it with tensors as outputs'],
  ['nested', 'its graphs are nested deeper than 16'],
])('%s is refused, with what to do', (name, message) => {
  expect(() => normaliseOnnx(fixture(name))).toThrow(
    expect.objectContaining({ reason: 'MODEL_LOAD_FAILED', message: expect.stringContaining(message) }),
  );
});

const graphWith = (initializer: Uint8Array) => delimited(7, delimited(5, initializer));

test.each([
  [
    'a weight of 2^60 values without them',
    [varintField(1, 2 ** 60), varintField(2, 1), delimited(9, Buffer.alloc(4))],
    'needs',
  ],
  ['a negative dimension', [varintField(1, -1), varintField(2, 1), textField(8, 'W')], 'has the shape [-1]'],
  ['weights in another file', [varintField(1, 2), varintField(2, 1), varintField(14, 1)], 'external_data=False'],
])('%s is refused before onnxruntime sees it', (_, parts, message) => {
  expect(() => normaliseOnnx(graphWith(Buffer.concat(parts)))).toThrow(message);
});

test('a length beyond the file, an endless number and a file without a graph are named', () => {
  expect(() => normaliseOnnx(Buffer.from([0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f]))).toThrow('a field runs past its end');
  expect(() => normaliseOnnx(Buffer.alloc(20, 0xff))).toThrow('longer than ten bytes');
  expect(() => normaliseOnnx(Buffer.alloc(0))).toThrow('it has no graph');
  expect(() => normaliseOnnx(Buffer.from('PK\u0003\u0004 not an onnx file'))).toThrow('the ONNX file is damaged');
});

test('millions of tiny fields are refused in bounded time', () => {
  const bytes = Buffer.alloc(8_000_000, Buffer.from([0x08, 0x01]));
  const startMs = performance.now();
  expect(() => normaliseOnnx(bytes)).toThrow('has more than 1000000 fields');
  expect(performance.now() - startMs).toBeLessThan(5_000);
});

test('files that are cut or changed anywhere are read or refused, never anything else', () => {
  const bytes = served('logistic-zipmap');
  const damage = fc.record({ at: fc.nat(bytes.length - 1), byte: fc.nat(255), keep: fc.nat(bytes.length) });
  let refused = 0;
  fc.assert(
    fc.property(damage, ({ at, byte, keep }) => {
      const changed = Buffer.from(bytes.subarray(0, Math.max(keep, at + 1)));
      changed[at] = byte;
      try {
        normaliseOnnx(changed);
      } catch (error) {
        refused++;
        expect(error).toMatchObject({ reason: 'MODEL_LOAD_FAILED' });
      }
    }),
    { numRuns: 2_000 },
  );
  expect(refused).toBeGreaterThan(100);
});
