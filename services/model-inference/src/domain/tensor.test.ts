import { expect, test } from 'vitest';
import { elementsOf, fixedKinds, isDatatype } from './tensor.ts';

test('a scalar has one element, a shape with a 0 none', () => {
  expect(elementsOf([])).toBe(1);
  expect(elementsOf([3, 2])).toBe(6);
  expect(elementsOf([3, 0])).toBe(0);
});

test('datatypes are those of the protocol and nothing else', () => {
  for (const name of [...Object.keys(fixedKinds), 'BYTES']) expect(isDatatype(name)).toBe(true);
  for (const name of ['', 'fp32', 'FLOAT', 'toString', 'constructor']) expect(isDatatype(name)).toBe(false);
});

test.each(Object.entries(fixedKinds))('%s: the stated bytes of each element, and a view of that many', (_, kind) => {
  const view = kind.view(new ArrayBuffer(4 * kind.bytes), 3);
  expect(view.length).toBe(3);
  expect(view.BYTES_PER_ELEMENT).toBe(kind.bytes);
});
