import { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { expect, test } from 'vitest';
import { chooseBatching } from '../domain/batching-choice.ts';
import { createModelBook, type LoadedModel } from './model-book.ts';

/** A book whose loads end when the test says so. */
function openBook(aliases: Map<string, readonly string[]> = new Map()) {
  const loads: { readonly uri: string; readonly end: PromiseWithResolvers<LoadedModel> }[] = [];
  const closed: string[] = [];
  const told: string[] = [];
  const book = createModelBook({
    load: ({ uri }) => {
      const end = Promise.withResolvers<LoadedModel>();
      loads.push({ uri, end });
      return end.promise;
    },
    onChange: ({ version, state }) => told.push(`${version} ${state.t}`),
    onUnload: ({ version }) => told.push(`${version} unloaded`),
    aliased: (_name, alias) => aliases.get(alias),
    aliasesOf: () => [...aliases.keys()],
  });
  const loaded = (uri: string): LoadedModel => ({
    inputs: [],
    outputs: [],
    facts: {
      irVersion: 9,
      opsets: {},
      producer: '',
      producerVersion: '',
      metadata: {},
      labels: {},
      changes: [],
      batching: { t: 'safe' },
    },
    batching: chooseBatching(1, [], undefined),
    run: async () => new Map(),
    close: async () => void closed.push(uri),
  });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  const pick = (uri: string) => {
    const found = loads.findLast((load) => load.uri === uri);
    if (!found) throw new Error(`${uri} is not being loaded`);
    return found.end;
  };
  const wantWith = (golden: string | undefined, current: string, ...pinned: readonly string[]) =>
    book.want(
      [current, ...pinned].map((version) => ({
        name: 'm',
        version,
        spec: definitions.Model.fromPartial({ uri: version, ...(golden ? { golden: { sha256: golden } } : {}) }),
      })),
      new Map([['m', current]]),
    );
  return {
    book,
    closed,
    told,
    loads,
    /** Version v of model `m` has the URI v. */
    want: (current: string, ...pinned: readonly string[]) => wantWith(undefined, current, ...pinned),
    /** The same, with the digest of its golden file. */
    wantWith,
    succeed: (uri: string) => {
      pick(uri).resolve(loaded(uri));
      return settle();
    },
    fail: (uri: string, message: string) => {
      pick(uri).reject(new MeshError('MODEL_LOAD_FAILED', message));
      return settle();
    },
  };
}

test('a model is MODEL_NOT_READY with a time to retry, then ready; an unknown one names those that are known', async () => {
  const { book, want, succeed } = openBook();
  expect(() => book.ready('m', '')).toThrow('there is no model "m"; models: none yet');
  want('v1');
  expect(book.settled()).toBe(false);
  expect(() => book.ready('m', '')).toThrow(expect.objectContaining({ reason: 'MODEL_NOT_READY', retryAfterMs: 200 }));
  await succeed('v1');
  expect(book.settled()).toBe(true);
  expect(book.ready('m', '').version).toBe('v1');
  expect(() => book.ready('m', 'v9')).toThrow('model "m" has no version or alias "v9"; versions: v1; aliases: none');
});

test.each([
  ['not wanted any more', []],
  ['still pinned', ['v1']],
])('the version before, %s, answers until the new one has loaded', async (_, pinned) => {
  const { book, want, succeed, closed } = openBook();
  want('v1');
  await succeed('v1');
  want('v2', ...pinned);
  expect(book.ready('m', '').version).toBe('v1');
  expect(() => book.ready('m', 'v2')).toThrow(expect.objectContaining({ reason: 'MODEL_NOT_READY' }));
  await succeed('v2');
  expect(book.ready('m', '').version).toBe('v2');
  expect(closed).toEqual(pinned.length === 0 ? ['v1'] : []);
});

test('an alias answers with its version; moved, with the version before until the new one has loaded; the rest is named', async () => {
  const aliases = new Map([['champion', ['v1']]]);
  const { book, want, succeed, fail } = openBook(aliases);
  want('v1', 'v2');
  // after a start nothing has answered for it: it waits for its own version
  aliases.set('champion', ['v2', 'v1']);
  await succeed('v1');
  expect(() => book.ready('m', 'champion')).toThrow(expect.objectContaining({ reason: 'MODEL_NOT_READY' }));
  aliases.set('champion', ['v1']);
  for (const [name, version] of [
    ['m', 'champion'],
    ['m', '@champion'],
    ['m@champion', ''],
  ] as const)
    expect(book.ready(name, version)).toMatchObject({ name: 'm', version: 'v1' });
  aliases.set('champion', ['v2', 'v1']);
  expect(book.ready('m', 'champion').version).toBe('v1');
  await fail('v2', 'broken');
  expect(book.ready('m', 'champion').version).toBe('v1');
  want('v1', 'v2');
  await succeed('v2');
  expect(book.ready('m', 'champion').version).toBe('v2');
  for (const [name, version] of [
    ['m', '@other'],
    ['m@other', ''],
  ] as const)
    expect(() => book.ready(name, version)).toThrow(
      'model "m" has no alias "other"; versions: v1, v2; aliases: champion',
    );
});

test('a version that is replaced before it has loaded is closed when it has, and nothing is said of it', async () => {
  const { book, want, succeed, closed, told } = openBook();
  want('v1');
  await succeed('v1');
  want('v2');
  want('v3');
  expect(book.ready('m', '').version).toBe('v1');
  await succeed('v2');
  expect(book.ready('m', '').version).toBe('v1');
  await succeed('v3');
  expect(book.ready('m', '').version).toBe('v3');
  expect(closed.sort()).toEqual(['v1', 'v2']);
  expect(told.filter((line) => line.endsWith('ready'))).toEqual(['v1 ready', 'v3 ready']);
});

test('a failed load answers its reason, is tried again when asked, and is told once while the reason stays', async () => {
  const { book, want, fail, succeed, told, loads } = openBook();
  want('v1');
  await fail('v1', 'no file');
  expect(() => book.ready('m', '')).toThrow('no file');
  want('v1');
  want('v1');
  expect(loads.length).toBe(2);
  expect(() => book.ready('m', '')).toThrow('no file');
  await fail('v1', 'no file');
  want('v1');
  await fail('v1', 'wrong digest');
  want('v1');
  await succeed('v1');
  expect(book.ready('m', '').version).toBe('v1');
  expect(told).toEqual(['v1 failed', 'v1 failed', 'v1 ready']);
});

test('a version that cannot be loaded leaves the one before it serving, until one can', async () => {
  const { book, want, fail, succeed, closed } = openBook();
  want('v1');
  await succeed('v1');
  want('v2');
  await fail('v2', 'wrong digest');
  expect(book.ready('m', '').version).toBe('v1');
  expect(() => book.ready('m', 'v2')).toThrow('wrong digest');
  want('v2');
  await fail('v2', 'wrong digest');
  expect(book.ready('m', '').version).toBe('v1');
  want('v3');
  expect(closed).toEqual([]);
  await succeed('v3');
  expect(book.ready('m', '').version).toBe('v3');
  expect(closed).toEqual(['v1']);
});

test('a golden check that failed is repeated with another golden file only, and the version before serves and is listed', async () => {
  const { book, wantWith, succeed, loads } = openBook();
  wantWith(undefined, 'v1');
  await succeed('v1');
  wantWith('bad', 'v2');
  const load = loads.at(-1);
  load?.end.reject(new MeshError('GOLDEN_CHECK_FAILED', 'wrong answer', { golden_sha256: 'bad' }));
  await new Promise((resolve) => setImmediate(resolve));
  wantWith('bad', 'v2');
  wantWith('bad', 'v2');
  expect(loads.length).toBe(2);
  expect(book.ready('m', '').version).toBe('v1');
  expect(book.ready('m', 'v1').version).toBe('v1');
  expect(() => book.ready('m', 'v2')).toThrow('wrong answer');
  expect([...book.versions('m')].sort()).toEqual(['v1', 'v2']);
  wantWith('good', 'v2');
  expect(loads.length).toBe(3);
  await succeed('v2');
  expect(book.ready('m', '').version).toBe('v2');
  expect(book.versions('m')).toEqual(['v2']);
});

test('close closes everything that is open, stand-ins too', async () => {
  const { book, want, succeed, closed } = openBook();
  want('v1', 'v0');
  await succeed('v1');
  await succeed('v0');
  want('v2', 'v0');
  await book.close();
  expect(closed.sort()).toEqual(['v0', 'v1']);
});
