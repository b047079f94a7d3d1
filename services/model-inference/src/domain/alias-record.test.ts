import fc from 'fast-check';
import { expect, test } from 'vitest';
import { aliasOf, noAliases, rolledBack, withAliases, withoutAlias } from './alias-record.ts';

const author = (nowUs = 1) => ({ by: 'ada', reason: 'because', nowUs });
const set = (record: ReturnType<typeof noAliases>, targets: Readonly<Record<string, string>>) =>
  withAliases(record, new Map(Object.entries(targets)), author()) ?? record;

test('aliases of a model move together and leave one change in its history', () => {
  const first = set(noAliases('fraud'), { champion: 'v1', challenger: 'v2' });
  const swapped = set(first, { champion: 'v2', challenger: 'v1' });
  expect(swapped.changes).toHaveLength(2);
  expect(swapped.changes[1]?.moves).toEqual([
    { alias: 'champion', from: 'v1', to: 'v2' },
    { alias: 'challenger', from: 'v2', to: 'v1' },
  ]);
  expect(withAliases(swapped, new Map([['champion', 'v2']]), author())).toBeUndefined();
});

test('names that look like versions, and other names, are refused; there are at most 32', () => {
  for (const name of ['', '0123456789ab', 'abcdef012345', '1', 'Champion', 'a b', '@champion', 'a'.repeat(64)])
    expect(() => set(noAliases('fraud'), { [name]: 'v1' }), name).toThrow('no name of an alias');
  const many = Object.fromEntries(Array.from({ length: 32 }, (_, at) => [`alias-${at}`, 'v1']));
  const full = set(noAliases('fraud'), many);
  expect(() => set(full, { more: 'v1' })).toThrow('33 aliases of model "fraud" are over the limit of 32');
  expect(set(full, { 'alias-3': 'v2' }).changes).toHaveLength(2);
});

test('names of Object.prototype are aliases like others, and are not there unless set', () => {
  expect(aliasOf(noAliases('fraud'), 'constructor')).toBeUndefined();
  expect(() => rolledBack(noAliases('fraud'), 'constructor', author())).toThrow('has no alias "constructor"');
  expect(aliasOf(set(noAliases('fraud'), { constructor: 'v1' }), 'constructor')?.versions).toEqual(['v1']);
});

const step = fc.constantFrom('v1', 'v2', 'v3', 'back', 'delete');

test('rolling back undoes sets one after the other, never below the first, and a deleted alias begins anew', () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 40 }), undoes));
});

function undoes(steps: readonly string[]): void {
  let record = noAliases('fraud');
  let stack: string[] = [];
  for (const [at, step] of steps.entries()) {
    if (step === 'back' || step === 'delete') {
      const isPossible = stack.length > (step === 'back' ? 1 : 0);
      const next = () => (step === 'back' ? rolledBack : withoutAlias)(record, 'champion', author(at));
      if (!isPossible) {
        expect(next).toThrow();
        continue;
      }
      record = next();
      stack = step === 'back' ? stack.slice(0, -1) : [];
    } else {
      record = set(record, { champion: step });
      if (stack.at(-1) !== step) stack.push(step);
    }
    expect(aliasOf(record, 'champion')?.versions ?? []).toEqual(stack);
    expect(record.changes.at(-1)?.moves[0]?.to ?? '').toBe(stack.at(-1) ?? '');
  }
}
