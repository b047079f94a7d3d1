import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readModel } from './model.ts';
import { operatorOfUnknownWork } from './work-by-shape.ts';

const operatorOf = (name: string) =>
  operatorOfUnknownWork(
    readModel(readFileSync(join(import.meta.dirname, '..', '..', '..', 'test', 'fixtures', 'onnx', `${name}.onnx`))),
  );

test.each(['linear', 'logistic', 'logistic-zipmap', 'two-inputs'])('what %s costs is told by shapes', (name) => {
  expect(operatorOf(name)).toBeUndefined();
});

test('what a loop costs its input says', () => {
  expect(operatorOf('slow')).toBe('Expand');
});
