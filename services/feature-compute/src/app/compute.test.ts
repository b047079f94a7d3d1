import { setTimeout as sleep } from 'node:timers/promises';
import { type DecodedBatch, operations } from '@millrace/events';
import type { ViewDefinition } from '@millrace/features';
import { quietTelemetry, type Telemetry } from '@millrace/runtime';
import { afterEach, expect, test, vi } from 'vitest';
import type { CheckpointMeta } from '../domain/view-record.ts';
import type { ViewHistory } from './backfill.ts';
import { type Compute, openCompute } from './compute.ts';
import { createComputeMetrics } from './compute-metrics.ts';
import type { StreamMessage } from './pipeline.ts';
import type { Row } from './row-flusher.ts';
import type { StateStore } from './state-store.ts';

/** An event `a#1` is one of entity `a`; `-a#1` deletes it. */
const { entityOf } = vi.hoisted(() => ({ entityOf: (code: string) => code.split('#')[0] ?? '' }));

/** A view that counts events: what is tested here is who is told what when, not the maths. */
vi.mock('@millrace/features', () => ({
  compileView: () => ({
    bind: ({ columns }: DecodedBatch) => {
      const codes = columns.get('code')?.values ?? [];
      return { entityKey: (i: number) => entityOf(String(codes[i])) };
    },
    newState: () => ({ n: 0 }),
    apply: (state: { n: number }) => {
      state.n++;
    },
    settle: () => {},
    isEmpty: ({ n }: { n: number }) => n === 0,
    encodeState: ({ n }: { n: number }, allocate: (bytes: number) => Buffer) => {
      const text = String(n);
      const bytes = allocate(text.length);
      bytes.write(text);
      return bytes;
    },
    decodeState: (bytes: Buffer) => ({ n: Number(bytes.toString()) }),
    writeRow: ({ n }: { n: number }, { position }: { position: number }) =>
      Buffer.from(JSON.stringify({ n, position })),
  }),
}));

type World = ReturnType<typeof createWorld>;

/** Stores that outlive the computation, as the real ones do. */
function createWorld() {
  const states = new Map<string, Buffer>();
  const notes = new Map<string, string>();
  const log: StreamMessage[] = [];
  const rows = new Map<string, { n: number; position: number }>();
  const world = {
    meta: undefined as CheckpointMeta | undefined,
    states,
    rows,
    log,
    first: 1,
    runId: 'r1',
    epoch: undefined as string | undefined,
    redisDown: false,
    tiles: [] as { key: string; n: number }[],
    historyPosition: 0,
    /** History holds all of the stream, as the real one soon does; else what `tiles` and `historyPosition` say. */
    historyFollows: false,
    /** Where a history that follows has come to. */
    historyReached: Number.POSITIVE_INFINITY,
    commits: 0,
    publish: (codes: readonly string[]) => {
      log.push({ seq: log.length + 1, data: Buffer.from(JSON.stringify(codes)), traceparent: undefined, pending: 0 });
    },
    row: (code: string, view = 'v') => rows.get(`${code} ${view}@1`),
  };
  const store: StateStore = {
    readMeta: () => structuredClone(world.meta),
    readNote: (name) => notes.get(name),
    writeNote: async (name, value) => void notes.set(name, value),
    readState: (id, key) => states.get(`${id} ${key}`),
    commit: async (changed, meta) => {
      for (const { viewId, entityKey, bytes } of changed) states.set(`${viewId} ${entityKey}`, Buffer.from(bytes));
      world.meta = structuredClone(meta);
      world.commits++;
    },
    scan: (id, after, limit) =>
      [...states]
        .filter(([key]) => key.startsWith(`${id} `))
        .map(([key, bytes]) => ({ entityKey: key.slice(id.length + 1), bytes }))
        .sort((a, b) => (a.entityKey < b.entityKey ? -1 : 1))
        .filter(({ entityKey }) => after === undefined || entityKey > after)
        .slice(0, limit),
    remove: async (id, keys) => {
      for (const key of keys) states.delete(`${id} ${key}`);
    },
    close: async () => {},
  };
  return Object.assign(world, { store });
}

const running: { stop: AbortController; done: Promise<void> }[] = [];

afterEach(async () => {
  for (const { stop, done } of running.splice(0)) {
    stop.abort();
    await done;
  }
});

async function start(world: World, wanted: readonly string[], limits: { memory?: number } = {}) {
  const telemetry: Telemetry = quietTelemetry();
  const history: ViewHistory = {
    maxPosition: async () =>
      world.historyFollows ? Math.min(world.log.length, world.historyReached) : world.historyPosition,
    extent: async (_source, upTo) => ({
      position: world.historyFollows ? upTo : world.historyPosition,
      knownTimeUs: 1,
      frontierUs: 1,
    }),
    entitiesOf: async (_definition, ids) =>
      [...new Set(ids.map(entityOf))].map((key) => ({ entityKey: key, values: [] })),
    tiles: async function* (_definition, { upToPosition: upTo, entities }) {
      const all = world.historyFollows ? countsOf(world.log, upTo) : world.tiles;
      const asked = all.filter(({ key }) => !entities || entities.some(({ entityKey }) => entityKey === key));
      yield asked.map(({ key, n }) => ({
        entityKey: key,
        merge: (_cells: unknown, state: unknown) => {
          (state as { n: number }).n += n;
        },
      }));
    },
  };
  const stop = new AbortController();
  const compute: Compute = await openCompute({
    see: () => {},
    gate: async () => '',
    store: {
      ...world.store,
      // what a process had not committed when it was killed is never committed
      commit: async (changed, meta) => {
        await sleep(1);
        if (!stop.signal.aborted) await world.store.commit(changed, meta);
      },
    },
    tell() {},
    events: {
      read: (from, signal) => tail(world.log, from, signal),
      decode: (data) => batchOf(JSON.parse(Buffer.from(data).toString()) as string[]),
      bounds: async () => ({ first: world.first, last: world.log.length }),
      lastPosition: async () => world.log.length,
    },
    writer: {
      write: async (written: readonly Row[]) => {
        await sleep(1);
        if (world.redisDown) throw new Error('redis is down');
        let stale = 0;
        for (const { key, field, row } of written) {
          if (row.length === 0) {
            world.rows.delete(`${key} ${field}`);
            continue;
          }
          const next = JSON.parse(row.toString()) as { n: number; position: number };
          const known = world.rows.get(`${key} ${field}`);
          if (known !== undefined && known.position > next.position) stale++;
          else world.rows.set(`${key} ${field}`, next);
        }
        return { written: written.length - stale, stale };
      },
    },
    field: (name, version) => `${name}@${version}`,
    hot: {
      runId: async () => world.runId,
      epochPresent: async () => world.epoch !== undefined,
      setEpoch: async (id) => {
        world.epoch = id;
      },
    },
    history,
    dropRows: async (keys, { name, version }) => {
      for (const key of keys) world.rows.delete(`${key} ${name}@${version}`);
    },
    clock: { nowUs: () => Date.now() * 1000 },
    telemetry,
    metrics: createComputeMetrics(telemetry.metrics),
    limits: {
      shards: 3,
      entitiesInMemoryMax: limits.memory ?? 1_000,
      flushIntervalMs: 2,
      rowsPerFlushMax: 4,
      rowsBehindMax: 50,
      checkpointIntervalMs: 30,
      checkpointEntitiesMax: 100,
      healIntervalMs: 20,
      retractionsPendingMax: 100,
    },
  });
  compute.keeper.want(wanted.map(definition));
  const done = compute.run(stop.signal);
  running.push({ stop, done });
  return { compute, crash: () => stop.abort() };
}

function countsOf(log: readonly StreamMessage[], upTo: number): { key: string; n: number }[] {
  const codes = log.slice(0, upTo).flatMap(({ data }) => JSON.parse(Buffer.from(data).toString()) as string[]);
  const deleted = new Set(codes.filter((code) => code.startsWith('-')).map((code) => code.slice(1)));
  const there = codes.filter((code) => !code.startsWith('-') && !deleted.has(code));
  return [...Map.groupBy(there, entityOf)].map(([key, all]) => ({ key, n: all.length }));
}

function definition(name: string): ViewDefinition {
  return { name, version: '1', entity: 'e', joinKeys: [], source: 's', changes: 'upsert', fields: [], features: [] };
}

function batchOf(codes: readonly string[]): DecodedBatch {
  return {
    source: 's',
    sourceVersion: '1',
    knownTimeUs: 1,
    count: codes.length,
    ids: codes.map((code) => code.replace('-', '')),
    eventTimeUs: new Float64Array(codes.length).fill(1),
    payloadHashes: new BigUint64Array(codes.length),
    columns: new Map([['code', { type: 'str', values: codes, nulls: null }]]),
    changes: {
      operations: Uint8Array.from(codes, (code) => (code.startsWith('-') ? operations.remove : operations.insert)),
      sequences: null,
    },
  };
}

async function* tail(log: readonly StreamMessage[], from: number, signal: AbortSignal): AsyncIterable<StreamMessage> {
  for (let at = from - 1; !signal.aborted; ) {
    const message = log[at];
    if (message === undefined) await sleep(1);
    else {
      at++;
      yield message;
    }
  }
}

const soon = { timeout: 10_000, interval: 5 };

test('rows follow the stream, each with the position of its last event', async () => {
  const world = createWorld();
  await start(world, ['v']);
  world.publish(['a', 'b', 'a']);
  world.publish(['b']);
  await vi.waitFor(() => expect(world.row('a')).toEqual({ n: 2, position: 1 }), soon);
  await vi.waitFor(() => expect(world.row('b')).toEqual({ n: 2, position: 2 }), soon);
});

test('a restart after a crash at any time counts every event once', async () => {
  const world = createWorld();
  world.historyFollows = true;
  for (let round = 0; round < 6; round++) {
    const { crash } = await start(world, ['v']);
    for (let i = 0; i < 30; i++) world.publish(['a', `k${i}`]);
    await sleep(round * 17);
    crash();
  }
  await start(world, ['v']);
  await vi.waitFor(() => expect(world.row('a')?.n).toBe(180), soon);
  await vi.waitFor(() => expect(world.row('k7')?.n).toBe(6), soon);
});

test('rows that Redis did not take before the checkpoint are written after a restart', async () => {
  const world = createWorld();
  const { crash, compute } = await start(world, ['v']);
  world.epoch = 'e';
  await vi.waitFor(() => expect(world.store.readNote('hot')).toBe('r1'), soon);
  world.redisDown = true;
  world.publish(['a', 'b']);
  await vi.waitFor(() => expect(world.meta?.position).toBe(1), soon);
  expect(compute.flusher.rowPosition()).toBe(0);
  crash();
  world.redisDown = false;
  await start(world, ['v']);
  await vi.waitFor(() => expect(world.row('b')).toEqual({ n: 1, position: 1 }), soon);
});

test.each(['emptied', 'restarted'])(
  'when Redis was %s every row comes back, also of entities that left memory',
  async (how) => {
    const world = createWorld();
    const { compute } = await start(world, ['v'], { memory: 5 });
    for (let i = 0; i < 40; i++) world.publish([`k${i}`]);
    await vi.waitFor(() => expect(world.rows.size).toBe(40), soon);
    for (let i = 0; i < 10; i++) {
      world.publish(['k0']);
      await sleep(40);
    }
    const inMemory = [...compute.engine.views.values()].reduce((sum, view) => sum + view.cells.count, 0);
    expect(inMemory).toBeLessThan(40);
    world.rows.clear();
    if (how === 'emptied') world.epoch = undefined;
    else world.runId = 'r2';
    await vi.waitFor(() => expect(world.rows.size).toBe(40), soon);
    expect(world.row('k39')).toEqual({ n: 1, position: 40 });
  },
);

test('a new view waits for history, merges it with the live events and only then has rows', async () => {
  const world = createWorld();
  const { compute } = await start(world, ['v']);
  world.publish(['a', 'a', 'c']);
  await vi.waitFor(() => expect(world.row('a')?.n).toBe(2), soon);
  compute.keeper.want(['v', 'w'].map(definition));
  world.publish(['a', 'b']);
  await sleep(50);
  expect(world.row('a', 'w')).toBeUndefined();
  world.tiles = [
    { key: 'a', n: 2 },
    { key: 'c', n: 1 },
  ];
  world.historyPosition = 1;
  await vi.waitFor(() => expect(compute.engine.views.get('w@1')?.record.phase).toBe('ready'), soon);
  expect(world.row('a', 'w')).toEqual({ n: 3, position: 2 });
  expect(world.row('b', 'w')).toEqual({ n: 1, position: 2 });
  expect(world.row('c', 'w')).toEqual({ n: 1, position: 1 });
});

test('a crash during a backfill starts it over from nothing', async () => {
  const world = createWorld();
  const first = await start(world, ['v']);
  world.publish(['a']);
  await vi.waitFor(() => expect(world.row('a')?.n).toBe(1), soon);
  first.compute.keeper.want(['v', 'w'].map(definition));
  world.publish(['a', 'b']);
  await vi.waitFor(() => expect(world.meta?.views['w@1']?.phase).toBe('warming'), soon);
  await vi.waitFor(() => expect(world.states.get('w@1 b')?.toString('latin1')).toContain('1'), soon);
  first.crash();
  world.tiles = [
    { key: 'a', n: 2 },
    { key: 'b', n: 1 },
  ];
  world.historyPosition = 2;
  const second = await start(world, ['v', 'w']);
  await vi.waitFor(() => expect(second.compute.engine.views.get('w@1')?.record.phase).toBe('ready'), soon);
  expect(world.row('a', 'w')?.n).toBe(2);
  expect(world.row('b', 'w')?.n).toBe(1);
});

test('a view that nobody needs any more loses its rows and its states', async () => {
  const world = createWorld();
  const { compute } = await start(world, ['v', 'w']);
  world.publish(['a', 'b']);
  await vi.waitFor(() => expect(world.row('b', 'w')?.n).toBe(1), soon);
  compute.keeper.want([definition('v')]);
  await vi.waitFor(() => expect([...compute.engine.views.keys()]).toEqual(['v@1']), soon);
  expect(world.row('b', 'w')).toBeUndefined();
  expect([...world.states.keys()].some((key) => key.startsWith('w@1'))).toBe(false);
  expect(world.row('b')?.n).toBe(1);
});

test('when the stream lost events before they were applied the views are filled from history', async () => {
  const world = createWorld();
  const first = await start(world, ['v']);
  world.publish(['a']);
  await vi.waitFor(() => expect(world.meta?.position).toBe(1), soon);
  first.crash();
  for (let i = 0; i < 4; i++) world.publish(['a']);
  world.first = 4;
  world.tiles = [{ key: 'a', n: 3 }];
  world.historyPosition = 3;
  await start(world, ['v']);
  await vi.waitFor(() => expect(world.row('a')).toEqual({ n: 5, position: 5 }), soon);
});

test('a deletion is taken up again after a crash before the state without it, whatever came meanwhile, and an entity without events has no row', async () => {
  const world = createWorld();
  world.historyFollows = true;
  const first = await start(world, ['v']);
  world.publish(['a#1', 'a#2', 'b#1']);
  await vi.waitFor(() => expect(world.row('b')?.n).toBe(1), soon);
  world.historyReached = 1;
  world.publish(['-a#1', '-b#1']);
  world.publish(['a#3']);
  await vi.waitFor(() => expect(world.meta?.position).toBe(3), soon);
  expect(world.row('a')).toEqual({ n: 3, position: 3 });
  expect(first.compute.flusher.rowPosition()).toBe(1);
  first.crash();
  const { compute } = await start(world, ['v']);
  world.publish(['a#4']);
  await vi.waitFor(() => expect(world.row('a')).toEqual({ n: 4, position: 4 }), soon);
  expect(compute.flusher.rowPosition()).toBe(1);
  world.historyReached = Number.POSITIVE_INFINITY;
  await vi.waitFor(() => expect(world.row('a')).toEqual({ n: 3, position: 4 }), soon);
  await vi.waitFor(() => expect(world.row('b')).toBeUndefined(), soon);
  await vi.waitFor(() => expect(compute.flusher.rowPosition()).toBe(4), soon);
  expect([...compute.engine.views.values()].map(({ record }) => record.entities)).toEqual([1]);
  world.publish(['b#2']);
  await vi.waitFor(() => expect(world.row('b')).toEqual({ n: 1, position: 5 }), soon);
  await vi.waitFor(() => expect(world.meta?.retractions).toBeUndefined(), soon);
});
