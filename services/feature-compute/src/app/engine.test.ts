import type { DecodedBatch } from '@millrace/events';
import { entityKey, type ViewDefinition } from '@millrace/features';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { CheckpointMeta } from '../domain/view-record.ts';
import { Engine } from './engine.ts';
import { createStateSaver, type StateSaver } from './state-saver.ts';
import type { StateStore } from './state-store.ts';

const hourUs = 3_600_000_000;
const startUs = 1_000 * hourUs;
const names = ['a', 'b', 'c', 'd', 'e', 'f'];
const view: ViewDefinition = {
  name: 'visits',
  version: '1',
  entity: 'shop',
  joinKeys: [{ name: 'shop', type: 'STRING', field: 'shop' }],
  source: 'visits',
  fields: [{ name: 'shop', type: 'STRING', nullable: true }],
  features: [
    {
      name: 'n',
      function: 'count',
      field: '',
      filter: '',
      ddof: 0,
      window: { t: 'sliding', sizeUs: hourUs, hopUs: 0 },
    },
  ],
};

type Event = { readonly shop: string; readonly isLate: boolean };
const event = fc.record({ shop: fc.constantFrom(...names), isLate: fc.boolean() });
/** What happens: a message is published, some are read, some states are encoded, what is encoded is committed, clean states leave memory, the process is killed. */
const action = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      t: fc.constant('message' as const),
      events: fc.array(event, { minLength: 1, maxLength: 5 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ t: fc.constant('read' as const), messages: fc.nat(4) }) },
  { weight: 3, arbitrary: fc.record({ t: fc.constant('encode' as const), states: fc.nat(4) }) },
  {
    weight: 3,
    arbitrary: fc.record({
      t: fc.constantFrom('commit' as const, 'commit' as const, 'evict' as const, 'kill' as const),
    }),
  },
);

test('whatever is saved when, and whenever the process is killed, every event is counted once', async () => {
  let replayed = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 30, maxLength: 100 }), async (actions) => {
      const { store, saved } = storeOf();
      const log: DecodedBatch[] = [];
      let { engine, saver } = open(store);
      for (const each of actions) {
        if (each.t === 'message') log.push(batchOf(each.events));
        else if (each.t === 'read') read(engine, log, each.messages);
        else if (each.t === 'encode') saver.encode(each.states, Number.POSITIVE_INFINITY);
        else if (each.t === 'commit') await commit(store, saver);
        else if (each.t === 'kill') ({ engine, saver } = open(store));
        else evictAll(engine);
        if (engine.isReplaying) replayed++;
      }
      ({ engine, saver } = open(store));
      read(engine, log);
      expectAll(engine, log);
      // and what is saved now says the same
      saver.encode(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY);
      await commit(store, saver);
      expect(saved.meta?.position ?? 0).toBe(log.length);
      const last = open(store).engine;
      expect(last.position).toBe(log.length);
      expectAll(last, log);
    }),
    { numRuns: 400 },
  );
  expect(replayed, 'states were ahead of the position').toBeGreaterThan(20);
});

test('a view is saved as ready once everything that history gave it is', async () => {
  const { store, saved } = storeOf();
  const { engine, saver } = open(store);
  const filled = engine.addView({ ...view, version: '2' });
  for (const name of names) filled.cells.changed(filled.cells.cell(entityKey('shop', [name])).cell, 1);
  engine.setPhase(filled, 'ready');
  const phases: (string | undefined)[] = [];
  for (let i = 0; i < names.length; i++) {
    await commit(store, saver);
    phases.push(saved.meta?.views['visits@2']?.phase);
    saver.encode(1, Number.POSITIVE_INFINITY);
  }
  await commit(store, saver);
  expect(new Set(phases)).toEqual(new Set(['warming']));
  expect(saved.meta?.views['visits@2']?.phase).toBe('ready');
  expect(saved.meta?.views['visits@1']?.phase).toBe('ready');
});

test('a correction stays in the checkpoint until the state that reflects it is in it', async () => {
  const { store, saved } = storeOf();
  const { engine, saver } = open(store);
  const active = engine.views.get('visits@1');
  if (active === undefined) throw new Error('no view');
  engine.apply(1, batchOf([{ shop: 'a', isLate: false }]));
  active.retractions.add('x', { seq: 1, knownTimeUs: 5 });
  saver.encode(1, Number.POSITIVE_INFINITY);
  await commit(store, saver);
  active.cells.changed(active.cells.cell(entityKey('shop', ['a'])).cell, 2);
  active.retractions.settle(active.retractions.first(10), engine.marks);
  expect(active.retractions.size).toBe(0);
  engine.apply(2, batchOf([{ shop: 'b', isLate: false }]));
  await commit(store, saver);
  expect(saved.meta?.retractions).toEqual({ 'visits@1': [['x', 1, 5]] });
  saver.encode(1, Number.POSITIVE_INFINITY);
  await commit(store, saver);
  expect(saved.meta?.retractions).toBeUndefined();
  expect(saved.meta).toMatchObject({ position: 1, reached: 2 });
});

test('states of a view that was forgotten are not saved in the place of another of its name', async () => {
  const { store, saved } = storeOf();
  const { engine, saver } = open(store);
  engine.apply(1, batchOf([{ shop: 'a', isLate: false }]));
  const active = engine.views.get('visits@1');
  if (active === undefined) throw new Error('no view');
  engine.forget(active);
  engine.addView(view);
  saver.encode(10, Number.POSITIVE_INFINITY);
  await commit(store, saver);
  expect(saved.states.size).toBe(0);
  expect(saved.meta?.position).toBe(1);
});

async function commit(store: StateStore, saver: StateSaver): Promise<void> {
  const { changed, meta, done } = saver.begin(new Map());
  await store.commit(changed, meta);
  done();
}

/** What a new process begins with. */
function open(store: StateStore): { engine: Engine; saver: StateSaver } {
  const engine = new Engine(store, { shards: 2, entitiesInMemoryMax: 1_000 });
  if (engine.views.size === 0) engine.setPhase(engine.addView(view), 'ready');
  return { engine, saver: createStateSaver(engine) };
}

function read(engine: Engine, log: readonly DecodedBatch[], messagesMax = Number.POSITIVE_INFINITY): void {
  const end = Math.min(log.length, engine.position + messagesMax);
  for (let at = engine.position; at < end; at++) engine.apply(at + 1, log[at] as DecodedBatch);
}

/** Whatever may leave memory does. */
function evictAll(engine: Engine): void {
  for (const { cells } of engine.views.values()) {
    for (const shard of cells.shards) for (const cell of shard.takeRowDirty()) cell.rowDirty = false;
    // what was used in the last two rounds stays
    for (let round = 0; round < 3; round++) cells.evictTo(0);
  }
}

function expectAll(engine: Engine, log: readonly DecodedBatch[]): void {
  const active = engine.views.get('visits@1');
  if (active === undefined) throw new Error('no view');
  const all = log.flatMap(eventsOf);
  const counts = new Map(names.map((name) => [name, 0]));
  let dropped = 0;
  const seen = new Set<string>();
  for (const { shop, isLate } of all) {
    // what is older than the window of the entity's newest event is dropped, what comes first is not
    if (isLate && seen.has(shop)) dropped++;
    else if (!isLate) counts.set(shop, (counts.get(shop) ?? 0) + 1);
    if (!isLate) seen.add(shop);
  }
  for (const [name, count] of counts) {
    const { state } = active.cells.cell(entityKey('shop', [name])).cell;
    expect(active.cells.view.valuesAt(state, Math.max(startUs + 1, state.validFromUs))).toEqual([count]);
  }
  expect(active.record.entities).toBe(new Set(all.map(({ shop }) => shop)).size);
  expect(active.record.lateDropped).toBe(dropped);
}

function batchOf(events: readonly Event[]): DecodedBatch {
  return {
    source: 'visits',
    sourceVersion: '1',
    knownTimeUs: 1,
    count: events.length,
    ids: events.map(() => ''),
    eventTimeUs: Float64Array.from(events, ({ isLate }) => (isLate ? startUs - 5 * hourUs : startUs)),
    payloadHashes: new BigUint64Array(events.length),
    columns: new Map([['shop', { type: 'str', values: events.map(({ shop }) => shop), nulls: null }]]),
  };
}

function eventsOf({ columns, eventTimeUs }: DecodedBatch): readonly Event[] {
  const shops = columns.get('shop')?.values ?? [];
  return Array.from(eventTimeUs, (timeUs, i) => ({ shop: String(shops[i]), isLate: timeUs < startUs }));
}

function storeOf() {
  const saved = { meta: undefined as CheckpointMeta | undefined, states: new Map<string, Buffer>() };
  const store: StateStore = {
    readMeta: () => structuredClone(saved.meta),
    readNote: () => undefined,
    writeNote: async () => {},
    readState: (id, key) => saved.states.get(`${id} ${key}`),
    commit: async (changed, meta) => {
      for (const { viewId, entityKey: key, bytes } of changed) saved.states.set(`${viewId} ${key}`, Buffer.from(bytes));
      saved.meta = structuredClone(meta);
    },
    scan: () => [],
    remove: async () => {},
    close: async () => {},
  };
  return { store, saved };
}
