import { expect, test } from 'vitest';
import { createGroupCommit } from './group-commit.ts';

interface Item {
  readonly name: string;
  readonly size: number;
}

function open({ inFlightMax = 1, sizeMax = 10 } = {}) {
  const writes: { readonly names: string; readonly signal: AbortSignal; readonly over: PromiseWithResolvers<void> }[] =
    [];
  const { commit } = createGroupCommit<Item>({
    inFlightMax,
    sizeMax,
    write(items, signal) {
      const over = Promise.withResolvers<void>();
      writes.push({ names: items.map(({ name }) => name).join(''), signal, over });
      return over.promise;
    },
  });
  const never = new AbortController().signal;
  return {
    writes,
    names: () => writes.map(({ names }) => names),
    commit: (name: string, { size = 1, group = 'g', signal = never } = {}) => commit({ name, size }, group, signal),
  };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test('what comes in one turn goes together, and what comes meanwhile goes together next', async () => {
  const { commit, names, writes } = open();
  const done: string[] = [];
  const commits = ['a', 'b'].map((name) => commit(name).then(() => done.push(name)));
  await turn();
  for (const name of ['c', 'd', 'e']) commits.push(commit(name).then(() => done.push(name)));
  await turn();
  expect(names()).toEqual(['ab']);
  expect(done).toEqual([]);
  writes[0]?.over.resolve();
  await turn();
  expect(done).toEqual(['a', 'b']);
  expect(names()).toEqual(['ab', 'cde']);
  writes[1]?.over.resolve();
  await Promise.all(commits);
});

test('groups do not wait for each other, and a commit takes no more than its size', async () => {
  const { commit, names } = open({ inFlightMax: 3 });
  for (const [name, size] of [
    ['a', 6],
    ['b', 6],
    ['c', 4],
    ['d', 20],
  ] as const)
    void commit(name, { size });
  void commit('x', { group: 'h' });
  await turn();
  expect(names()).toEqual(['a', 'bc', 'd', 'x']);
});

test('a failed commit fails those that are part of it, and the next goes on', async () => {
  const { commit, writes } = open();
  const failed = Promise.allSettled([commit('a'), commit('b')]);
  await turn();
  const next = commit('c');
  writes[0]?.over.reject(new Error('no stream'));
  expect((await failed).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  await turn();
  writes[1]?.over.resolve();
  await next;
});

test('who gives up is not written, and a commit that nobody waits for is given up', async () => {
  const { commit, names, writes } = open();
  const [first, second, third] = [new AbortController(), new AbortController(), new AbortController()];
  const settled = Promise.allSettled([commit('a', { signal: first.signal }), commit('b', { signal: second.signal })]);
  await turn();
  const waiting = commit('c', { signal: third.signal });
  const last = commit('d');
  third.abort(new Error('gone'));
  await expect(waiting).rejects.toThrow('gone');
  first.abort();
  await turn();
  expect(writes[0]?.signal.aborted).toBe(false);
  second.abort();
  expect(writes[0]?.signal.aborted).toBe(true);
  expect((await settled).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
  writes[0]?.over.reject(new Error('given up'));
  await turn();
  expect(names()).toEqual(['ab', 'd']);
  writes[1]?.over.resolve();
  await last;
});
