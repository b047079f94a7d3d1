import { definitions, ingestion } from '@millrace/contracts';
import { openNats } from '@millrace/events';
import { eventually } from '@millrace/testkit';
import { headers as natsHeaders } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  baseUs,
  event,
  eventsOf,
  good,
  type IngestionHarness,
  openHarness,
  source,
  spec,
} from './ingestion-harness.ts';

let harness: IngestionHarness;
let unique = 0;
const nextId = () => `t${unique++}`;

beforeAll(async () => {
  harness = await openHarness();
});
afterAll(() => harness?.close());

test('a good event is acknowledged, known now, and in history', async () => {
  const before = (await harness.inHistory().catch(() => ({ rows: 0 }))).rows;
  const { accepted, position, knownTimeUs, rejections } = await harness.publish(event(nextId()), event(nextId()));
  expect({ accepted, rejections }).toEqual({ accepted: 2, rejections: [] });
  expect(Number(position)).toBeGreaterThan(0);
  expect(Math.abs(Number(knownTimeUs) / 1000 - Date.now())).toBeLessThan(5_000);
  await eventually(async () => expect((await harness.inHistory()).rows).toBe(before + 2));
  await eventually(async () =>
    expect(Number((await harness.progress()).historyPosition)).toBeGreaterThanOrEqual(Number(position)),
  );
});

const { distance: _distance, ...withoutDistance } = good;
const bad: readonly [name: string, fields: ingestion.Event, reason: string, field: string, says: string][] = [
  ['malformed JSON', event('m', '{"at": 1,'), 'MALFORMED_PAYLOAD', '', 'send one valid JSON object'],
  ['the token NaN', event('n', '{"delay": NaN}'), 'MALFORMED_PAYLOAD', '', 'JSON has no NaN'],
  ['infinity', event('i', JSON.stringify(good).replace('4.5', '1e999')), 'NOT_FINITE', 'delay', 'Infinity'],
  ['a missing field', event('f', withoutDistance), 'MISSING_FIELD', 'distance', 'send it'],
  ['an extra field', event('x', { ...good, gate: 'B7' }), 'EXTRA_FIELD', 'gate', 'remove it'],
  ['a wrong type', event('w', { ...good, distance: 'far' }), 'WRONG_TYPE', 'distance', '"far"'],
  ['null where forbidden', event('u', { ...good, distance: null }), 'NULL_NOT_ALLOWED', 'distance', 'send a value'],
  ['a value outside the enum', event('e', { ...good, origin: 'XXX' }), 'NOT_IN_ENUM', 'origin', '"XXX"'],
  ['a value out of range', event('r', { ...good, delay: 1e6 }), 'OUT_OF_RANGE', 'delay', '1000000'],
  ['an event far in the future', event('t', { ...good, at: '2199-01-01T00:00:00Z' }), 'FUTURE_EVENT', 'at', '2199'],
  [
    'an event far in the past',
    event('p', { ...good, at: '1901-01-01T00:00:00Z' }),
    'EVENT_TIME_OUT_OF_RANGE',
    'at',
    '1901',
  ],
  ['an oversized event', event('o', { ...good, note: 'x'.repeat(300_000) }), 'EVENT_TOO_LARGE', '', '262144'],
  ['an event without id', event(''), 'MISSING_EVENT_ID', 'id', 'unique'],
];

test.each(bad)(
  '%s is quarantined alone, with its reason and its original bytes',
  async (_name, wrong, reason, field, says) => {
    const answer = await harness.publish(event(nextId()), wrong, event(nextId()));
    expect(answer.accepted).toBe(2);
    expect(answer.rejections).toMatchObject([{ index: 1, eventId: wrong.id, reason, field }]);
    const [rejection] = answer.rejections;
    expect(rejection?.message).toContain(says);
    const { events } = await harness.client.listQuarantine({
      source,
      reason,
      expectation: '',
      field: '',
      afterPosition: 0n,
      limit: 1_000,
    });
    const kept = events.find(({ quarantineId }) => quarantineId === rejection?.quarantineId);
    expect(kept).toMatchObject({ source, reason, field, message: rejection?.message });
    expect(kept?.payload.equals(wrong.json.subarray(0, 262_144))).toBe(true);
  },
);

test('an unknown source is NOT_FOUND and says what to do', async () => {
  const failing = harness.client.publish({ source: 'nowhere', events: [event('a')] });
  await expect(failing).rejects.toMatchObject({ reason: 'UNKNOWN_SOURCE', code: 5, metadata: { source: 'nowhere' } });
  await expect(failing).rejects.toThrow(/"nowhere".*apply its definition/);
});

test('an empty batch and one of 10,001 events are INVALID_ARGUMENT', async () => {
  await expect(harness.publish()).rejects.toMatchObject({ reason: 'EMPTY_BATCH', code: 3 });
  const many = Array.from({ length: 10_001 }, (_, at) => event(`many${at}`));
  await expect(harness.publish(...many)).rejects.toMatchObject({ reason: 'TOO_MANY_EVENTS', code: 3 });
});

test('an id twice is a duplicate with the same payload and a conflict with another', async () => {
  const id = nextId();
  expect(await harness.publish(event(id))).toMatchObject({ accepted: 1, duplicates: 0 });
  expect(await harness.publish(event(id), event(id))).toMatchObject({ accepted: 0, duplicates: 2, position: 0n });
  const conflict = await harness.publish(event(id, { ...good, distance: 1 }));
  expect(conflict).toMatchObject({ accepted: 0, rejections: [{ eventId: id, reason: 'ID_CONFLICT', field: 'id' }] });
});

test('the same events in ten calls at once are accepted once', async () => {
  const events = Array.from({ length: 50 }, () => event(nextId()));
  const answers = await Promise.all(Array.from({ length: 10 }, () => harness.publish(...events)));
  expect(answers.reduce((sum, { accepted }) => sum + accepted, 0)).toBe(50);
  expect(answers.reduce((sum, { duplicates }) => sum + duplicates, 0)).toBe(450);
});

test('a stream acknowledges its batches in order, and a refused one does not end it', async () => {
  async function* requests() {
    for (let at = 0; at < 30; at++) {
      const batch = { source: at === 7 ? 'nowhere' : source, events: eventsOf(100_000 + at * 10, 100_010 + at * 10) };
      yield { batchSequence: BigInt(at), batch };
    }
  }
  const answers: ingestion.PublishStreamResponse[] = [];
  for await (const answer of harness.client.publishStream(requests())) answers.push(answer);
  expect(answers.map(({ batchSequence }) => Number(batchSequence))).toEqual(Array.from({ length: 30 }, (_, at) => at));
  expect(answers[7]).toMatchObject({ result: undefined, reason: 'UNKNOWN_SOURCE' });
  expect(answers.filter(({ result }) => result?.accepted === 10)).toHaveLength(29);
});

test('quarantined events are replayed after a fix and leave; the others stay', async () => {
  const fixable = event(nextId(), { ...good, at: baseUs + 5, gate: 'C3' });
  const hopeless = event(nextId(), { ...good, gate: 7 });
  await harness.publish(fixable, hopeless);
  const filter = { source, reason: 'EXTRA_FIELD', expectation: '', field: '' };
  const replay = () =>
    harness.client.replayQuarantine(ingestion.ReplayQuarantineRequest.fromPartial({ source, reason: 'EXTRA_FIELD' }));
  expect(await replay()).toMatchObject({ accepted: 0, duplicates: 0 });
  const before = (await harness.client.listQuarantine({ ...filter, afterPosition: 0n, limit: 0 })).total;

  const gate = definitions.SourceField.fromPartial({
    name: 'gate',
    type: definitions.FieldType.STRING,
    nullable: true,
  });
  await harness.define({ fields: [...spec.fields, gate] });
  const replayed = await eventually(async () => {
    const totals = await replay();
    return totals.accepted > 0 ? totals : false;
  });
  expect(replayed.rejected).toBeGreaterThanOrEqual(1);
  const after = await harness.client.listQuarantine({ ...filter, afterPosition: 0n, limit: 0 });
  expect(after.total).toBe(before - BigInt(replayed.accepted + replayed.duplicates));
  expect(after.events.map(({ eventId }) => eventId)).toContain(hopeless.id);
  expect(after.events.map(({ eventId }) => eventId)).not.toContain(fixable.id);
  expect(await harness.publish(fixable)).toMatchObject({ duplicates: 1 });
});

describe('millrace.ingest.<source>', () => {
  test('takes plain JSON and CloudEvents once each, and quarantines what is wrong', async () => {
    const nats = await openNats(harness.mesh.nats.url, { name: 'test' });
    const before = Number((await harness.progress()).accepted);
    const headers = (id: string) => ({ 'Nats-Msg-Id': id });
    const send = async (to: string, value: unknown, given: Readonly<Record<string, string>> = {}) => {
      const set = natsHeaders();
      for (const [name, text] of Object.entries(given)) set.set(name, text);
      await nats.js.publish(`millrace.ingest.${to}`, typeof value === 'string' ? value : JSON.stringify(value), {
        headers: set,
      });
    };
    const cloud = {
      specversion: '1.0',
      id: '1',
      source: '/gate',
      type: 'arrival',
      time: '2001-01-02T03:04:05Z',
      data: good,
    };
    await send(source, good, headers('nats-a'));
    await send(source, good);
    await send(source, cloud);
    await send(source, cloud);
    await send(source, '{"at":');
    await send('nowhere', good);
    await eventually(async () => expect(Number((await harness.progress()).accepted)).toBe(before + 3));
    const unknown = await eventually(async () => {
      const { events } = await harness.client.listQuarantine({
        source: 'nowhere',
        reason: '',
        expectation: '',
        field: '',
        afterPosition: 0n,
        limit: 10,
      });
      return events.length === 1 ? events[0] : false;
    });
    expect(unknown).toMatchObject({ source: 'nowhere', reason: 'UNKNOWN_SOURCE' });
    expect(JSON.parse(unknown?.payload.toString() ?? '')).toEqual(good);
    await nats.close();
  });
});

test('metrics and health are served', async () => {
  const metrics = await (await fetch(`http://${harness.service.http}/metrics`)).text();
  expect(metrics).toContain('millrace_ingestion_events_total');
  expect(metrics).toMatch(/millrace_ingestion_quarantined_total\{[^}]*reason="EXTRA_FIELD"/);
  expect((await fetch(`http://${harness.service.http}/health/ready`)).status).toBe(200);
});
