import { definitions } from '@millrace/contracts';
import { operations } from '@millrace/events';
import { quietTelemetry } from '@millrace/runtime';
import { expect, test } from 'vitest';
import type { PackedBatch } from '../domain/pack.ts';
import type { RawEvent } from '../domain/raw-event.ts';
import { RowTally } from '../domain/row-tally.ts';
import { compileSource } from '../domain/source-validator.ts';
import { createAcceptBatch, type EventLog } from './accept-batch.ts';
import type { RejectedEvent } from './batch-outcome.ts';
import { catchUp, IdBook } from './id-book.ts';
import { type IdIndex, type IndexMark, idKey } from './id-index.ts';
import { createIngestionMetrics } from './ingestion-metrics.ts';

const nowUs = Date.UTC(2026, 0, 1) * 1000;
const validator = compileSource({
  name: 's',
  version: 'v1',
  spec: definitions.Source.fromPartial({ fields: [{ name: 'x', type: definitions.FieldType.INT64 }] }),
});

const event = (id: string, x: unknown = 1): RawEvent => ({
  id,
  eventTimeUs: nowUs - 1,
  payload: Buffer.from(JSON.stringify({ x })),
  form: 'fields',
});

/** The index in memory, with the same contract as the one in LMDB. */
function memoryIndex(): IdIndex & { readonly ids: Map<string, bigint> } {
  const ids = new Map<string, bigint>();
  const sequences = new Map<string, bigint>();
  let mark: IndexMark = { position: 0, tallies: {} };
  return {
    ids,
    mark: () => mark,
    find(key) {
      const hash = ids.get(key);
      if (hash === undefined) return undefined;
      const [lo = 0, hi = 0] = new Uint32Array(BigUint64Array.of(hash).buffer);
      return { lo, hi, sequence: sequences.get(key) ?? 0n };
    },
    hasForgotten: () => false,
    markForgotten: () => {},
    async record(messages, next) {
      for (const { batch } of messages) {
        for (const [row, id] of batch.ids.entries()) {
          ids.set(idKey(batch.source, id), batch.payloadHashes[row] ?? 0n);
          sequences.set(idKey(batch.source, id), batch.changes?.sequences?.[row] ?? 0n);
        }
      }
      mark = structuredClone(next);
    },
    async wipe() {
      ids.clear();
      mark = { position: 0, tallies: {} };
    },
    close: async () => {},
  };
}

const correctable = compileSource({
  name: 's',
  version: 'v1',
  spec: definitions.Source.fromPartial({
    fields: [{ name: 'x', type: definitions.FieldType.INT64 }],
    changes: definitions.Changes.UPSERT,
  }),
});

function setUp(index = memoryIndex(), stream: PackedBatch[] = [], intake = { validator }) {
  const rejected: RejectedEvent[] = [];
  const held: (() => void)[] = [];
  let holding = false;
  const log: EventLog = {
    async append({ batch }) {
      if (holding) await new Promise<void>((resolve) => held.push(resolve));
      return stream.push(batch);
    },
  };
  const telemetry = quietTelemetry();
  const ids = new IdBook(index);
  const accept = createAcceptBatch({
    intakes: { of: async () => intake },
    ids,
    log,
    quarantine: {
      async keep(more) {
        rejected.push(...more);
        return more.map((_, at) => `q${at}`);
      },
    },
    clock: { nowUs: () => nowUs },
    telemetry,
    metrics: createIngestionMetrics(telemetry.metrics),
    tally: new RowTally(),
    blocks: { assertOpen: () => {}, problemOf: () => undefined },
    limits: { batchesInFlightMax: 2, batchesWaitingMax: 1 },
  });
  const hold = () => {
    holding = true;
  };
  const release = (at: number) => held.splice(at, 1)[0]?.();
  return { accept, ids, index, stream, rejected, hold, release, held };
}

const idsOf = (stream: readonly PackedBatch[]) => stream.flatMap(({ ids }) => ids);
const turn = () => new Promise((resolve) => setTimeout(resolve, 1));

test('events are accepted once, in the batch and across batches, before and after they are recorded', async () => {
  const { accept, ids, stream } = setUp();
  expect(await accept('s', [event('a'), event('b'), event('a')])).toMatchObject({
    accepted: 2,
    duplicates: 1,
    position: 1,
  });
  expect(await accept('s', [event('b'), event('c')])).toMatchObject({ accepted: 1, duplicates: 1, position: 2 });
  while ((await ids.commit()) > 0);
  expect(ids.waiting).toBe(0);
  expect(await accept('s', [event('a'), event('c')])).toMatchObject({ accepted: 0, duplicates: 2, position: 0 });
  expect(idsOf(stream)).toEqual(['a', 'b', 'c']);
});

test('an id with another payload goes to quarantine, in the batch and across batches', async () => {
  const { accept, stream, rejected } = setUp();
  const first = await accept('s', [event('a', 1), event('a', 2)]);
  expect(first.rejections).toMatchObject([{ index: 1, eventId: 'a', reason: 'ID_CONFLICT', quarantineId: 'q0' }]);
  const second = await accept('s', [event('a', 3)]);
  expect(second.rejections).toMatchObject([{ index: 0, reason: 'ID_CONFLICT' }]);
  expect(rejected).toHaveLength(2);
  expect(idsOf(stream)).toEqual(['a']);
});

test('a duplicate of an event in flight is acknowledged only when that one is durable', async () => {
  const { accept, hold, release, held, stream } = setUp();
  hold();
  const first = accept('s', [event('a')]);
  await turn();
  let answered = false;
  const second = accept('s', [event('a')]).then((outcome) => {
    answered = true;
    return outcome;
  });
  await turn();
  expect(answered).toBe(false);
  expect(held).toHaveLength(1);
  release(0);
  expect(await first).toMatchObject({ accepted: 1 });
  expect(await second).toMatchObject({ accepted: 0, duplicates: 1 });
  expect(idsOf(stream)).toEqual(['a']);
});

test('what is rejected does not hold up what is good, and keeps its index', async () => {
  const { accept, rejected } = setUp();
  const outcome = await accept('s', [event('a', 'x'), event('b'), event('', 1), event('c')]);
  expect(outcome).toMatchObject({ accepted: 2, duplicates: 0, knownTimeUs: nowUs });
  expect(outcome.rejections.map(({ index, reason }) => [index, reason])).toEqual([
    [0, 'WRONG_TYPE'],
    [2, 'MISSING_EVENT_ID'],
  ]);
  expect(rejected.map(({ event }) => event.payload.toString())).toEqual(['{"x":"x"}', '{"x":1}']);
});

test('an empty batch, one of 10,001 events and one too many at once are refused', async () => {
  const { accept, hold, release, held } = setUp();
  await expect(accept('s', [])).rejects.toMatchObject({ reason: 'EMPTY_BATCH', code: 3 });
  await expect(accept('s', new Array(10_001))).rejects.toMatchObject({ reason: 'TOO_MANY_EVENTS', code: 3 });
  hold();
  const running = ['a', 'b', 'c'].map((id) => accept('s', [event(id)]));
  await turn();
  await expect(accept('s', [event('d')])).rejects.toMatchObject({ reason: 'OVERLOADED', retryAfterMs: 200 });
  for (let at = 0; at < 3; at++) {
    await turn();
    release(0);
  }
  await Promise.all(running);
  expect(held).toHaveLength(0);
});

test('ids are recorded as a prefix of the stream: never past a message that may still be in flight', async () => {
  const { accept, ids, index, hold, release } = setUp();
  await accept('s', [event('a')]);
  hold();
  const early = accept('s', [event('b')]);
  const later = accept('s', [event('c')]);
  await turn();
  release(1);
  await later;
  while ((await ids.commit()) > 0);
  expect([...index.ids.keys()]).toEqual(['s\na']);
  expect(index.mark().position).toBe(1);
  release(0);
  await early;
  while ((await ids.commit()) > 0);
  expect([...index.ids.keys()]).toEqual(['s\na', 's\nc', 's\nb']);
  expect(index.mark()).toMatchObject({ position: 3, tallies: { s: { accepted: 3, lastPosition: 3 } } });
});

test('after a crash the index catches up with the stream, and retried events are duplicates', async () => {
  const before = setUp();
  await before.accept('s', [event('a')]);
  while ((await before.ids.commit()) > 0);
  await before.accept('s', [event('b'), event('c')]);
  const log = {
    bounds: async () => ({ first: 1, last: before.stream.length }),
    read: async function* (from: number, to: number) {
      for (let position = from; position <= to; position++) {
        yield { position, batch: before.stream[position - 1] as PackedBatch };
      }
    },
  };
  expect(await catchUp(before.index, log)).toEqual({ messages: 1, wiped: false });
  const after = setUp(before.index, before.stream);
  expect(after.ids.tally('s')).toMatchObject({ accepted: 3, lastPosition: 2 });
  const retried = await after.accept('s', [event('a'), event('b'), event('c'), event('d')]);
  expect(retried).toMatchObject({ accepted: 1, duplicates: 3 });
  expect(idsOf(after.stream)).toEqual(['a', 'b', 'c', 'd']);
});

test('an index of a stream that is gone is wiped', async () => {
  const { accept, ids, index } = setUp();
  await accept('s', [event('a')]);
  while ((await ids.commit()) > 0);
  const log = { bounds: async () => ({ first: 0, last: 0 }), read: async function* () {} };
  expect(await catchUp(index, log)).toEqual({ messages: 0, wiped: true });
  expect(index.ids.size).toBe(0);
});

const changesOf = (stream: readonly PackedBatch[]) =>
  stream.flatMap((batch) =>
    batch.ids.map((id, row) => [id, batch.changes?.operations[row] ?? 0, Number(batch.columns.get('x')?.values[row])]),
  );
const remove = (id: string): RawEvent => ({ ...event(id), operation: 'delete' });
const { insert, replace, remove: removal } = operations;

test('where events may be corrected, another payload takes the place of the one before, and a deletion is remembered', async () => {
  const { accept, ids, stream } = setUp(undefined, undefined, { validator: correctable });
  const first = await accept('s', [
    event('a', 1),
    event('a', 2),
    event('b', 1),
    remove('b'),
    remove('b'),
    event('b', 1),
  ]);
  expect(first).toMatchObject({ accepted: 5, duplicates: 1 });
  while ((await ids.commit()) > 0);
  expect(ids.waiting).toBe(0);
  const second = await accept('s', [event('a', 2), event('a', 1), remove('never'), event('never', 4)]);
  expect(second).toMatchObject({ accepted: 3, duplicates: 1, rejections: [] });
  expect(changesOf(stream)).toEqual([
    ['a', insert, 1],
    ['a', replace, 2],
    ['b', insert, 1],
    ['b', removal, 0],
    ['b', replace, 1],
    ['a', replace, 1],
    ['never', removal, 0],
    ['never', replace, 4],
  ]);
  expect(stream.map(({ ids: each }) => new Set(each).size)).toEqual(stream.map(({ count }) => count));
});

test('a correction leaves after the event that it corrects has arrived', async () => {
  const { accept, hold, release, held, stream } = setUp(undefined, undefined, { validator: correctable });
  hold();
  const first = accept('s', [event('a', 1)]);
  await turn();
  const second = accept('s', [event('a', 2), event('c', 1)]);
  await turn();
  expect(held).toHaveLength(1);
  release(0);
  await first;
  await turn();
  release(0);
  await second;
  expect(changesOf(stream)).toEqual([
    ['a', insert, 1],
    ['a', replace, 2],
    ['c', insert, 1],
  ]);
});

test('of numbered changes one that is not above the last is a redelivery, also after it was recorded and caught up with', async () => {
  const { accept, ids, index, stream } = setUp(undefined, undefined, { validator: correctable });
  const numbered = (x: number, sequence: bigint): RawEvent => ({ ...event('a', x), sequence });
  expect(await accept('s', [numbered(1, 5n), numbered(2, 9n), numbered(1, 5n)])).toMatchObject({ accepted: 2 });
  expect(await accept('s', [numbered(3, 7n)])).toMatchObject({ accepted: 0, duplicates: 1 });
  while ((await ids.commit()) > 0);
  const after = setUp(index, stream, { validator: correctable });
  expect(await after.accept('s', [numbered(3, 9n)])).toMatchObject({ accepted: 0, duplicates: 1 });
  expect(await after.accept('s', [event('a', 8)])).toMatchObject({ accepted: 1 });
  expect(await after.accept('s', [numbered(3, 9n)])).toMatchObject({ accepted: 0, duplicates: 1 });
  expect(await after.accept('s', [numbered(3, 10n)])).toMatchObject({ accepted: 1 });
});

test('where events stay as they are, none is deleted', async () => {
  const { accept } = setUp();
  const { rejections } = await accept('s', [remove('a')]);
  expect(rejections).toMatchObject([
    { reason: 'INVALID_ARGUMENT', message: expect.stringContaining('changes: upsert') },
  ]);
});
