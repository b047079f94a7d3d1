import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { batchingOf } from './batch-safety.ts';
import { readModel } from './model.ts';

const batching = (...path: readonly string[]) =>
  batchingOf(readModel(readFileSync(join(import.meta.dirname, ...path))));

test.each([
  ['dynamic', 'DynamicQuantizeLinear "dql" quantizes all rows of a batch by one scale'],
  ['scale-of-batch', 'QuantizeLinear "quantize" takes its scale from ReduceMax "reduce" over all rows of a batch'],
  ['fixed-batch', 'input "X" has a first dimension of exactly 1'],
])('%s is unsafe to batch, and why is said', (name, reason) => {
  expect(batching('fixtures', `${name}.onnx`)).toEqual({ t: 'unsafe', reason: expect.stringContaining(reason) });
});

test('a scale of each row, and models without quantization, are safe', () => {
  const served = ['..', '..', '..', 'test', 'fixtures', 'onnx'];
  expect(batching('fixtures', 'scale-of-row.onnx')).toEqual({ t: 'safe' });
  for (const name of ['linear', 'logistic', 'logistic-zipmap', 'two-inputs', 'text'])
    expect(batching(...served, `${name}.onnx`)).toEqual({ t: 'safe' });
  expect(batching(...served, 'slow.onnx')).toEqual({
    t: 'unsafe',
    reason: 'input "turns" is a scalar, which no two requests can share',
  });
});
