import { compute } from '@millrace/contracts';
import { viewFeatureTypes } from '@millrace/features';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { delaysView, featureService } from './compute-definitions.ts';
import { type ComputeHarness, openHarness, toWire } from './compute-harness.ts';
import { close, oracle } from './compute-oracle.ts';
import { hourUs, originUs, randomEvents, type TestEvent } from './compute-world.ts';

let world: ComputeHarness;
const events: TestEvent[] = randomEvents({ events: 800, codes: 5, fromUs: originUs, spanUs: 5 * hourUs, seed: 3 });
const nowUs = originUs + 5 * hourUs;
const codes = ['C0', 'C1', 'C2', 'C3', 'C4'];

beforeAll(async () => {
  world = await openHarness();
  await world.apply(delaysView('delays'));
  const names = world.definition('delays').features.map(({ name }) => name);
  await world.apply(featureService('delay_features', 'delays', names));
  await world.start();
  for (let at = 0; at < events.length; at += 100) await world.publish(events.slice(at, at + 100));
  await world.caughtUp();
});

afterAll(() => world?.close());

test('EvaluateAsOf gives the values of history for each instant, and says which entities it never saw', async () => {
  const asked = [...codes, 'nobody'].flatMap((code) => [nowUs, nowUs - hourUs].map((asOfUs) => ({ code, asOfUs })));
  const view = world.definition('delays');
  const answer = await world.client().evaluateAsOf({
    view: 'delays',
    version: '',
    features: [],
    samples: asked.map(({ code, asOfUs }) => ({
      keys: new Map([['code', code]]),
      asOfUs: BigInt(asOfUs),
      position: 0n,
      served: [],
    })),
  });
  expect(answer.features).toEqual(view.features.map(({ name }) => name));
  for (const [at, { code, asOfUs }] of asked.entries()) {
    const values = answer.results[at]?.values.map(({ kind }) => kind?.value ?? null);
    expect(close(values, oracle(view, events, code, asOfUs)), `${code} ${asOfUs}`).toBe(true);
    expect(answer.results[at]?.found).toBe(code !== 'nobody');
  }
});

test('served values agree with history, and one that was tampered with is found', async () => {
  const view = world.definition('delays');
  const types = viewFeatureTypes(view);
  const samples = await Promise.all(
    codes.map(async (code) => ({
      keys: new Map([['code', code]]),
      asOfUs: BigInt(nowUs),
      position: BigInt(await world.rowPosition(view, code)),
      served: ((await world.values(view, code, nowUs)) ?? []).map((value, at) => toWire(value, types[at] ?? 'DOUBLE')),
    })),
  );
  const request = { view: 'delays', version: view.version, features: [], samples };
  const honest = await world.client().verifySamples(request);
  expect(honest).toMatchObject({ compared: BigInt(codes.length * types.length), mismatched: 0n });

  const [first] = samples;
  if (first?.served[0] === undefined) throw new Error('there is a sample');
  first.served[0] = { kind: { $case: 'int64Value', value: 12_345n } };
  const tampered = await world.client().verifySamples(request);
  expect(tampered.mismatched).toBe(1n);
  expect(tampered.mismatches[0]).toMatchObject({ sample: 0, feature: view.features[0]?.name });
});

test('a training set has the point-in-time values under the names of the feature service, and the same digest again', async () => {
  const view = world.definition('delays');
  const times = [nowUs, nowUs - hourUs / 2, nowUs - 2 * hourUs];
  const labels = codes.flatMap((code) => times.map((timeUs) => ({ code, timeUs })));
  const rows = labels.map(
    ({ code, timeUs }, at) =>
      `SELECT '${code}' AS code, fromUnixTimestamp64Micro(toInt64(${timeUs}), 'UTC') AS label_time, ${at} AS label`,
  );
  const request = compute.BuildTrainingSetRequest.fromPartial({
    featureService: 'delay_features',
    labelQuery: rows.join(' UNION ALL '),
    complete: true,
  });
  const [once, again] = [await world.trainingSet(request), await world.trainingSet(request)];
  expect(once.record.rows).toBe(BigInt(labels.length));
  expect(again.record.digest).toBe(once.record.digest);
  for (const row of once.rows) {
    const { code, timeUs } = labels[Number(row.label)] ?? { code: '', timeUs: 0 };
    const values = view.features.map(({ name }) => (row[`delays__${name}`] ?? null) as number | null);
    expect(close(values, oracle(view, events, code, timeUs)), `${code} ${timeUs}: ${values}`).toBe(true);
  }

  // the events became known today, long after these labels
  const known = await world.trainingSet({ ...request, complete: false });
  expect(known.rows).toHaveLength(labels.length);
  for (const row of known.rows) expect(Number(row[`delays__${view.features[0]?.name}`])).toBe(0);
});
