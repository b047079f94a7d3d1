import { expect, test } from 'vitest';
import { entityKey, rowField } from './index.ts';

test('a key holds the entity and its join keys on one cluster slot', () => {
  expect(entityKey('route', ['ATL', 'ORD'])).toBe('{route:ATL:ORD}');
  expect(entityKey('origin_hour', ['ATL', 8n])).toBe('{origin_hour:ATL:8}');
});

test('a field has eight letters, others for each view and version; `printf spend@abc | sha256sum` finds them', () => {
  expect(rowField('spend', 'abc')).toBe(Buffer.from('f520c02b410f', 'hex').toString('base64url'));
  expect(rowField('spend', 'abc')).toHaveLength(8);
  const names = Array.from({ length: 1000 }, (_, i) => rowField(`view_${i >> 1}`, `${i & 1}`));
  expect(new Set(names).size).toBe(1000);
});

test('different join keys never share a key', () => {
  expect(entityKey('e', ['a:b', 'c'])).not.toBe(entityKey('e', ['a', 'b:c']));
  expect(entityKey('e', ['a%3Ab'])).not.toBe(entityKey('e', ['a:b']));
  expect(entityKey('e', ['é{}\n'])).toBe('{e:%C3%A9%7B%7D%0A}');
});
