import { MeshError } from '@millrace/kernel';
import { expect, test } from 'vitest';
import { checkInputs } from './check-inputs.ts';
import type { Datatype, Tensor, TensorSpec } from './tensor.ts';

const specs: readonly TensorSpec[] = [
  { name: 'amounts', datatype: 'FP32', shape: [-1, 2] },
  { name: 'count', datatype: 'INT64', shape: [-1, 1] },
];

const tensor = (datatype: Datatype, shape: readonly number[], data: Tensor['data']): Tensor => ({
  datatype,
  shape,
  data,
});
const amounts = tensor('FP32', [2, 2], new Float32Array(4));
const count = tensor('INT64', [2, 1], new BigInt64Array(2));

function refusal(given: Readonly<Record<string, Tensor>>): MeshError {
  try {
    checkInputs('m', specs, new Map(Object.entries(given)));
  } catch (error) {
    if (error instanceof MeshError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

test('inputs that fit are accepted, in any order and with any number of rows, none among them', () => {
  expect(() => checkInputs('m', specs, new Map(Object.entries({ count, amounts })))).not.toThrow();
  const none = {
    amounts: tensor('FP32', [0, 2], new Float32Array(0)),
    count: tensor('INT64', [0, 1], new BigInt64Array(0)),
  };
  expect(() => checkInputs('m', specs, new Map(Object.entries(none)))).not.toThrow();
});

test.each<[string, Readonly<Record<string, Tensor>>, string, readonly string[]]>([
  ['a missing input', { amounts }, 'MISSING_MODEL_INPUT', ['model "m"', '"count"', 'INT64 [-1,1]']],
  ['an extra input', { amounts, count, extra: count }, 'INVALID_ARGUMENT', ['"extra"', 'its inputs: amounts, count']],
  [
    'another datatype',
    { amounts, count: tensor('INT32', [2, 1], new Int32Array(2)) },
    'WRONG_TENSOR_TYPE',
    ['"count"', 'is INT64', 'INT32 was given'],
  ],
  [
    'another number of dimensions',
    { amounts: { ...amounts, shape: [4] }, count },
    'WRONG_TENSOR_SHAPE',
    ['"amounts"', '[-1,2]', '[4] was given'],
  ],
  ['another width', { amounts: { ...amounts, shape: [1, 4] }, count }, 'WRONG_TENSOR_SHAPE', ['[-1,2]', '[1,4]']],
  ['a negative size', { amounts: { ...amounts, shape: [-1, 2] }, count }, 'WRONG_TENSOR_SHAPE', ['[-1,2] was given']],
  [
    'data that is not what the shape says',
    { amounts: { ...amounts, shape: [3, 2] }, count },
    'WRONG_TENSOR_SHAPE',
    ['6 elements', '4 were given'],
  ],
])('%s is refused by name', (_, given, reason, words) => {
  const error = refusal(given);
  expect(error.reason).toBe(reason);
  for (const word of words) expect(error.message).toContain(word);
  expect(error.metadata.model).toBe('m');
});
