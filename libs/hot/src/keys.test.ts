import { expect, test } from 'vitest';
import { entityKey, rowField } from './index.ts';

test('a key holds the entity and its join keys on one cluster slot', () => {
  expect(entityKey('route', ['ATL', 'ORD'])).toBe('{route:ATL:ORD}');
  expect(entityKey('origin_hour', ['ATL', 8n])).toBe('{origin_hour:ATL:8}');
  expect(rowField('spend', 'abc')).toBe('spend@abc');
});

test('different join keys never share a key', () => {
  expect(entityKey('e', ['a:b', 'c'])).not.toBe(entityKey('e', ['a', 'b:c']));
  expect(entityKey('e', ['a%3Ab'])).not.toBe(entityKey('e', ['a:b']));
  expect(entityKey('e', ['é{}\n'])).toBe('{e:%C3%A9%7B%7D%0A}');
});
