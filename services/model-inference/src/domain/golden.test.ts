import { expect, test } from 'vitest';
import { checkGoldenAnswer, type GoldenOutput, type GoldenValue } from './golden.ts';
import type { Tensor } from './tensor.ts';

function check(given: Tensor, values: readonly GoldenValue[], more: Partial<GoldenOutput> = {}): string | undefined {
  const output = { name: 'y', shape: undefined, values, atol: undefined, rtol: undefined, ...more };
  const request = { label: 'the request of line 3', inputs: new Map(), outputs: [output] };
  try {
    checkGoldenAnswer('fraud', 'g.jsonl', request, new Map([['y', given]]));
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

const floats = (...values: number[]): Tensor => ({
  datatype: 'FP32',
  shape: [values.length / 2, 2],
  data: Float32Array.from(values),
});
const whole = (...values: bigint[]): Tensor => ({
  datatype: 'INT64',
  shape: [values.length],
  data: BigInt64Array.from(values),
});

test('floats may differ as numpy.allclose lets them, and the first one that does is named with its bounds', () => {
  expect(check(floats(0.5, 100), [0.500_05, 100.009])).toBeUndefined();
  expect(check(floats(0.5, 0.25, 0.75, 0.25), [0.5, 0.25, 0.7, 0.3])).toBe(
    'golden check of model "fraud": the request of line 3 of "g.jsonl": output "y" element [1,0] is 0.75, expected 0.7 ± 0.00008; 2 of 4 elements differ, at most by 0.05',
  );
  expect(check(floats(0.5, 0.25), [0.6, 0.2], { atol: 0.1, rtol: 0 })).toBeUndefined();
  expect(check(floats(0.5, 0.25), [0.6, 0.2], { atol: 0.06, rtol: 0 })).toContain('[0,0] is 0.5, expected 0.6 ± 0.06');
});

test('NaN equals null and an infinity itself, and nothing else', () => {
  expect(check(floats(Number.NaN, Number.POSITIVE_INFINITY), [null, Number.POSITIVE_INFINITY])).toBeUndefined();
  expect(check(floats(Number.NaN, 1), [1, 1])).toContain('is NaN, expected 1');
  expect(check(floats(1, 1), [null, 1])).toContain('is 1, expected NaN');
  expect(check(floats(Number.NEGATIVE_INFINITY, 1), [Number.POSITIVE_INFINITY, 1])).toContain('is -Infinity');
});

test('whole numbers are exact to 64 bits unless a tolerance is given; text and booleans always are', () => {
  expect(check(whole(9_007_199_254_740_993n), [9_007_199_254_740_993n])).toBeUndefined();
  expect(check(whole(9_007_199_254_740_993n), [9_007_199_254_740_992])).toContain(
    'is 9007199254740993, expected 9007199254740992',
  );
  expect(check(whole(7n), [8])).toMatch(/is 7, expected 8$/);
  expect(check(whole(7n), [8], { atol: 1 })).toBeUndefined();
  const text: Tensor = { datatype: 'BYTES', shape: [1], data: ['ATL'] };
  expect(check(text, ['ATL'])).toBeUndefined();
  expect(check(text, ['JFK'], { atol: 9 })).toMatch(/is "ATL", expected "JFK"$/);
  const flag: Tensor = { datatype: 'BOOL', shape: [2], data: Uint8Array.of(1, 0) };
  expect(check(flag, [true, 0])).toBeUndefined();
  expect(check(flag, [true, true], { atol: 9 })).toMatch(/\[1\] is false, expected true$/);
});

test('another shape, an output that is not there and FP16 fail and say what was answered', () => {
  expect(check(floats(1, 2), [1, 2], { shape: [2] })).toContain('has shape [1,2], expected [2]');
  expect(check(floats(1, 2), [1, 2, 3])).toContain('has shape [1,2], expected 3 elements');
  expect(check({ datatype: 'FP16', shape: [1], data: Uint16Array.of(0) }, [0])).toContain('is FP16');
  expect(check(floats(1, 2), [1, 2], { name: 'z' })).toContain('output "z" is not among the model\'s: y');
});
