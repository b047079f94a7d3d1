import { expect, test } from 'vitest';
import { MeshError } from './errors.ts';
import { createSharedErrors } from './shared-errors.ts';

test('errors of a key are one for some milliseconds, and of no other key', () => {
  const shared = createSharedErrors();
  let made = 0;
  const ask = (key: string, nowMs: number) => shared(key, nowMs, () => new MeshError('OVERLOADED', `number ${++made}`));
  const first = ask('a', 100);
  expect(ask('a', 109)).toBe(first);
  expect(ask('b', 109)).not.toBe(first);
  expect(ask('a', 110).message).toBe('number 3');
  for (let key = 0; key < 5_000; key++) ask(String(key), 110);
  expect(ask('a', 111).message).toMatch(/^number \d{4}$/);
});
