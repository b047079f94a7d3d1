import { MeshError } from '@millrace/kernel';
import { expect, test } from 'vitest';
import type { ModelBook } from './model-book.ts';
import { createServeInfer } from './serve-infer.ts';
import { createVersionMeters } from './version-meters.ts';

test('what a full model refuses before decoding counts as failed, and a deployment decides of its own requests', () => {
  const error = new MeshError('OVERLOADED', 'too many wait');
  const counted: string[] = [];
  const meters = createVersionMeters(() => 7);
  meters.open('full', 'v1');
  const unused = () => {
    throw new Error('nothing is run');
  };
  const loaded = { refusal: ({ deadlineMs }: { deadlineMs?: number }) => (deadlineMs === 1 ? error : undefined) };
  const full = { name: 'full', version: 'v1', state: { t: 'ready', loaded } };
  const book = {
    find: (name: string) =>
      name === 'full' ? full : name === 'loading' ? { ...full, state: { t: 'loading' } } : undefined,
  };
  const { refusal } = createServeInfer({
    book: book as unknown as ModelBook,
    infer: unused,
    route: unused,
    explain: { tensors: unused, rows: unused },
    isRouted: (name, version) => name === 'full' && version === 'routed',
    onRefused: (model) => counted.push(model),
    meters,
  });
  const ask = (model: string, version: string, deadlineMs: number) =>
    refusal({ model, version, options: { deadlineMs } });
  expect(ask('full', '', 1)).toBe(error);
  expect(ask('full', '', 2)).toBeUndefined();
  expect(ask('full', 'routed', 1)).toBeUndefined();
  expect(ask('loading', '', 1)).toBeUndefined();
  expect(ask('nope', '', 1)).toBeUndefined();
  expect(counted).toEqual(['full']);
  expect(meters.of('full', 'v1').failures).toEqual({ REJECTED: 1, CANCELED: 0, BACKEND: 0, OTHER: 0 });
});
