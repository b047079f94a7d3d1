import { expect, test } from 'vitest';
import { checkOutputs } from './check-outputs.ts';

const declared = [
  { name: 'score', datatype: 'FP32', shape: [-1, 2] },
  { name: 'label', datatype: 'BYTES', shape: [-1] },
  { name: 'count', datatype: 'INT64', shape: [1] },
] as const;
const score = { name: 'score', shape: [2, 2], data: new Float32Array(4) };

test('outputs come in the order in which they were wanted, and others are left out', () => {
  const given = [{ name: 'count', shape: [1], data: BigInt64Array.of(3n) }, score, { name: 'more' }];
  const outputs = checkOutputs('m', declared, ['score', 'count'], given);
  expect([...outputs]).toEqual([
    ['score', { datatype: 'FP32', shape: [2, 2], data: score.data }],
    ['count', { datatype: 'INT64', shape: [1], data: BigInt64Array.of(3n) }],
  ]);
});

test.each([
  ['nothing', undefined, 'output "score" was not given'],
  ['another', [{ ...score, name: 'scores' }], 'output "score" was not given'],
  ['no data', [{ ...score, data: undefined }], 'output "score" was not given'],
  ['no shape', [{ ...score, shape: undefined }], 'output "score" has no shape of whole numbers: [undefined]'],
  ['a negative shape', [{ ...score, shape: [-1, 2] }], 'output "score" has no shape of whole numbers: [-1,2]'],
  ['another rank', [{ ...score, shape: [4] }], 'output "score" has shape [4] and was declared as [-1,2]'],
  ['another width', [{ ...score, shape: [4, 1] }], 'output "score" has shape [4,1] and was declared as [-1,2]'],
  ['too few elements', [{ ...score, shape: [3, 2] }], 'output "score" has 4 elements and shape [3,2], which is 6'],
  ['plain numbers', [{ ...score, data: [1, 2, 3, 4] }], 'output "score" is an Array; data of FP32 is Float32Array'],
  [
    'doubles',
    [{ ...score, data: new Float64Array(4) }],
    'output "score" is Float64Array; data of FP32 is Float32Array',
  ],
  ['a lie', [{ ...score, data: { length: 4 } }], 'output "score" is Object; data of FP32 is Float32Array'],
])('%s is refused with what it should be', (_, given, message) => {
  expect(() => checkOutputs('m', declared, ['score'], given)).toThrow(`model "m" is wrong: ${message}`);
});

test('strings are strings, and batched outputs have a row for each', () => {
  const labels = { name: 'label', shape: [2], data: ['a', 1] };
  expect(() => checkOutputs('m', declared, ['label'], [labels])).toThrow('data of BYTES is an Array of strings');
  expect(() => checkOutputs('m', declared, ['score'], [score], 3)).toThrow(
    'output "score" has shape [2,2] for 3 rows; batched outputs have a row for each',
  );
});
