import { setTimeout as sleep } from 'node:timers/promises';
import type { ViewDefinition } from '@millrace/features';
import { quietTelemetry } from '@millrace/runtime';
import { afterEach, expect, test, vi } from 'vitest';
import type { CheckpointMeta } from '../domain/view-record.ts';
import { createFillFromHistory, type HistoryExtent, type TileRow, type ViewHistory } from './backfill.ts';
import type { Checkpointer } from './checkpointer.ts';
import { Engine } from './engine.ts';
import { createStateSaver } from './state-saver.ts';
import type { StateStore } from './state-store.ts';
import { createViewKeeper, type TellStates } from './view-keeper.ts';

/** Views that add up what history gives them: what is tested is when they read, and what they do when they cannot. */
vi.mock('@millrace/features', () => ({
  compileView: () => ({
    newState: () => ({ n: 0 }),
    isEmpty: ({ n }: { n: number }) => n === 0,
    encodeState: ({ n }: { n: number }, take: (bytes: number) => Buffer) => {
      const text = String(n);
      const bytes = take(text.length);
      bytes.write(text);
      return bytes;
    },
    decodeState: (bytes: Buffer) => ({ n: Number(bytes.toString()) }),
  }),
}));

const extentAtStart: HistoryExtent = { position: 3, knownTimeUs: 1, frontierUs: 1 };
const position = 5;
const soon = { timeout: 10_000, interval: 5 };

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

/** A keeper over a store that begins after five events, with the history that a test gives it. */
function start(given: {
  readonly extent?: (source: string) => Promise<HistoryExtent>;
  readonly tiles?: (view: string, signal: AbortSignal) => AsyncIterable<readonly TileRow[]>;
  readonly rewrite?: (view: string) => Promise<void>;
}) {
  const states = new Map<string, Buffer>();
  const wiped: string[] = [];
  const told: Parameters<TellStates>[0][] = [];
  const asked = { positions: 0, extents: 0 };
  let failCommit: Error | undefined;
  const meta: CheckpointMeta = { format: 1, position, frontiers: {}, views: {}, pendingRows: {} };
  const store: StateStore = {
    readMeta: () => meta,
    readNote: () => undefined,
    writeNote: async () => {},
    readState: (id, key) => states.get(`${id} ${key}`),
    commit: async (changed) => {
      if (failCommit !== undefined) throw failCommit;
      for (const { viewId, entityKey, bytes } of changed) states.set(`${viewId} ${entityKey}`, Buffer.from(bytes));
    },
    scan: (id, _after, limit) =>
      [...states.keys()]
        .filter((key) => key.startsWith(`${id} `))
        .slice(0, limit)
        .map((key) => ({ entityKey: key.slice(id.length + 1), bytes: Buffer.alloc(0) })),
    remove: async (id, keys) => {
      for (const key of keys) {
        states.delete(`${id} ${key}`);
        wiped.push(`${id} ${key}`);
      }
    },
    close: async () => {},
  };
  const engine = new Engine(store, { shards: 2, entitiesInMemoryMax: 1_000 });
  const saver = createStateSaver(engine);
  const checkpointer: Checkpointer = {
    run: async () => {},
    position: () => engine.position,
    checkpoint: async () => {
      saver.encode(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
      const { changed, meta: next, done } = saver.begin(new Map());
      await store.commit(changed, next);
      done();
    },
  };
  const history: ViewHistory = {
    maxPosition: async () => position,
    extent: async (source) => {
      asked.extents++;
      await sleep(5);
      return given.extent ? given.extent(source) : extentAtStart;
    },
    entitiesOf: async () => [],
    tiles: ({ name }, _asked, signal) => given.tiles?.(name, signal) ?? tilesOf([]),
  };
  const telemetry = quietTelemetry();
  const waitForHistory = async () => void asked.positions++;
  const keeper = createViewKeeper({
    engine,
    store,
    checkpointer,
    fill: createFillFromHistory({ engine, history, waitForHistory, telemetry }),
    rewrite: async ({ record }) => given.rewrite?.(record.definition.name),
    gate: async () => '',
    dropRows: async () => {},
    tell: (view) => void told.push(view),
    telemetry,
  });
  const stop = new AbortController();
  const done = keeper.run(stop.signal);
  stops.push(async () => {
    stop.abort();
    await done.catch(() => {});
  });
  return {
    engine,
    states,
    wiped,
    told,
    asked,
    checkpointer,
    done,
    want: (names: readonly string[], source = 's') => keeper.want(names.map((name) => definition(name, source))),
    failCommits: (cause: Error) => {
      failCommit = cause;
    },
    view: (name: string) => engine.views.get(`${name}@1`),
    isReady: (name: string) => engine.views.get(`${name}@1`)?.record.phase === 'ready',
    sumOf: (name: string, key: string) => engine.views.get(`${name}@1`)?.cells.cell(key).cell.state,
    abort: () => stop.abort(),
  };
}

function definition(name: string, source: string): ViewDefinition {
  return { name, version: '1', entity: 'e', joinKeys: [], source, fields: [], features: [] };
}

async function* tilesOf(batches: readonly (readonly (readonly [string, number])[])[], end?: Error) {
  for (const batch of batches) {
    yield batch.map(
      ([entityKey, n]): TileRow => ({
        entityKey,
        merge: (_cells, state) => {
          (state as { n: number }).n += n;
        },
      }),
    );
  }
  if (end !== undefined) throw end;
}

test('hundreds of views get ready at once, and share what they ask of a source', async () => {
  const names = Array.from({ length: 500 }, (_, at) => `v${at}`);
  let reading = 0;
  let readingMax = 0;
  let answer = () => {};
  const answered = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const world = start({
    extent: () => answered.then(() => extentAtStart),
    tiles: async function* () {
      readingMax = Math.max(readingMax, ++reading);
      await sleep(1);
      yield* tilesOf([[['a', 2]]]);
      reading--;
    },
  });
  world.want(names);
  await sleep(50);
  // all that are on their way wait for one answer
  expect(world.asked).toEqual({ positions: 1, extents: 1 });
  answer();
  await vi.waitFor(() => expect(names.every(world.isReady)).toBe(true), soon);
  for (const name of names) expect(world.sumOf(name, 'a')).toEqual({ n: 2 });
  expect(readingMax).toBe(2);
  expect(world.asked.extents).toBeLessThan(names.length / 2);
  await vi.waitFor(() => expect(Object.values(world.told.at(-1) ?? {}).every((state) => state === 'ready')).toBe(true));
  expect(Object.keys(world.told.at(-1) ?? {})).toHaveLength(names.length);
  // every 50 ms at most: not once for each that got ready
  expect(world.told.length).toBeLessThan(names.length / 5);
});

test('views of one source get ready while another source gives no answer', async () => {
  const world = start({
    extent: (source) => (source === 's' ? Promise.resolve(extentAtStart) : sleep(60_000).then(() => extentAtStart)),
  });
  world.want(['v', 'w']);
  await vi.waitFor(() => expect(world.isReady('v')).toBe(true), soon);
  expect(world.isReady('w')).toBe(true);
});

test('a view that could not ask history is tried again as it is: it misses no event and nothing is wiped', async () => {
  let failures = 0;
  const world = start({
    extent: async () => {
      if (failures++ < 2) throw new Error('history is away');
      return extentAtStart;
    },
    tiles: () => tilesOf([[['a', 7]]]),
  });
  world.want(['v']);
  const first = world.view('v');
  await vi.waitFor(() => expect(first?.error).toContain('history is away'), soon);
  expect(first?.record.phase).toBe('warming');
  world.engine.skip(9);
  await vi.waitFor(() => expect(world.isReady('v')).toBe(true), soon);
  expect(world.view('v')).toBe(first);
  expect(first?.record.startPosition).toBe(position);
  expect(first?.error).toBe('');
  expect(world.sumOf('v', 'a')).toEqual({ n: 7 });
  expect(world.wiped).toEqual([]);
});

test('a view whose history broke off starts over from nothing, at the position of then', async () => {
  let reads = 0;
  const world = start({
    tiles: async function* () {
      yield* tilesOf([[['a', 7]], [[reads++ === 0 ? 'gone' : 'b', 2]]]);
      if (reads > 1) return;
      world.engine.skip(9);
      throw new Error('broke off');
    },
  });
  world.want(['v']);
  const first = world.view('v');
  await vi.waitFor(() => expect(world.isReady('v')).toBe(true), soon);
  expect(reads).toBe(2);
  expect(first?.isMerged).toBe(true);
  expect(world.view('v')).not.toBe(first);
  expect(world.view('v')?.record).toMatchObject({ startPosition: 9, entities: 2 });
  expect(world.sumOf('v', 'a')).toEqual({ n: 7 });
  await world.checkpointer.checkpoint();
  expect([...world.states.keys()].sort()).toEqual(['v@1 a', 'v@1 b']);
});

test('rows that could not be made start a view over that history is in, and others get ready before it', async () => {
  const order: string[] = [];
  let failures = 0;
  const world = start({
    tiles: () => tilesOf([[['a', 1]]]),
    rewrite: async (name) => {
      if (name === 'bad' && failures++ === 0) throw new Error('no rows');
      order.push(name);
    },
  });
  world.want(['bad', 'v', 'w']);
  const first = world.view('bad');
  await vi.waitFor(() => expect(world.isReady('bad')).toBe(true), soon);
  expect(order).toEqual(['v', 'w', 'bad']);
  expect(world.view('bad')).not.toBe(first);
  expect(world.sumOf('bad', 'a')).toEqual({ n: 1 });
});

test('a view that nobody wants any more while history is read stops reading, and leaves nothing', async () => {
  let batches = 0;
  const world = start({
    tiles: async function* () {
      for (;;) {
        batches++;
        yield* tilesOf([[[`e${batches}`, 1]]]);
        await sleep(1);
      }
    },
  });
  world.want(['v']);
  await vi.waitFor(() => expect(batches).toBeGreaterThan(3), soon);
  await world.checkpointer.checkpoint();
  expect(world.states.size).toBeGreaterThan(0);
  world.want([]);
  await vi.waitFor(() => expect(world.view('v')).toBeUndefined(), soon);
  expect(world.states.size).toBe(0);
  world.want(['v']);
  expect(world.view('v')?.record.phase).toBe('warming');
});

test('a stop while history is read is no failure, and a store that cannot commit ends the run', async () => {
  const world = start({
    tiles: async function* (_view, signal) {
      yield* tilesOf([[['a', 1]]]);
      await sleep(60_000, undefined, { signal });
    },
  });
  world.want(['v']);
  await vi.waitFor(() => expect(world.view('v')?.isMerged).toBe(true), soon);
  world.abort();
  await world.done;
  expect(world.view('v')?.error).toBe('');
  const broken = start({ tiles: () => tilesOf([[['a', 1]]], new Error('broke off')) });
  broken.failCommits(new Error('disk full'));
  broken.want(['v']);
  await expect(broken.done).rejects.toThrow('disk full');
});
