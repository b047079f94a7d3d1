import { inference, lineage, serving } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { auc, logLoss } from '@millrace/stats';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  expected,
  type InferenceWorld,
  latePrediction,
  minuteUs,
  morningUs,
  openInferenceWorld,
  plain,
  split,
} from './inference-world.ts';
import { predictionsInStream } from './prediction-stream.ts';

let world: InferenceWorld;
const { PRESENT, NULL, NOT_FOUND } = serving.ValueStatus;

beforeAll(async () => {
  world = await openInferenceWorld();
  await world.applyPredictions();
  await world.arrive(
    { origin: 'ATL', delay: 1, atUs: morningUs - 30 * minuteUs },
    { origin: 'ATL', delay: 2, atUs: morningUs - 10 * minuteUs },
    { origin: 'ORD', delay: null, atUs: morningUs - 5 * minuteUs },
  );
}, 180_000);

afterAll(() => world?.close());

/** The fitted model by hand, on what reaches it: the tensor is float32. */
function score(delay: number, wind: number): number {
  const {
    coefficients: [a = 0, b = 0],
    intercept,
  } = expected.logistic;
  return 1 / (1 + Math.exp(-(a * Math.fround(delay) + b * Math.fround(wind) + intercept)));
}

test('a prediction leads back to the model and the feature service that made it, and on to source fields', async () => {
  const answer = await world.predict(latePrediction(['ORD']));
  const [prediction] = answer.predictions;
  await inHistory([prediction?.predictionId ?? '']);
  const client = connect(lineage.LineageServiceService, world.service('governance').grpc, { defaultTimeoutMs: 10_000 });
  try {
    const { UPSTREAM, DOWNSTREAM } = lineage.Direction;
    const ask = (node: string, direction: lineage.Direction) => client.getLineage({ node, direction, depth: 0 });
    const id = `prediction:${prediction?.predictionId}`;
    const up = await ask(id, UPSTREAM);
    expect(up.edges).toEqual(
      expect.arrayContaining([
        { from: 'model:late', to: id, how: 'model' },
        { from: 'feature_service:lateness', to: id, how: 'features' },
        { from: 'feature:origin_delays.mean_1h', to: 'feature_service:lateness', how: 'feature' },
        { from: 'field:arrivals.delay', to: 'feature:origin_delays.mean_1h', how: 'input' },
        { from: 'field:arrivals.origin', to: 'feature:origin_delays.mean_1h', how: 'join key' },
      ]),
    );
    expect(up.nodes.find((node) => node.id === 'model:late')?.version).toBe(prediction?.modelVersion);
    expect(up.nodes.find((node) => node.id === 'feature_service:lateness')?.version).toBe(answer.featureServiceVersion);
    const down = await ask('arrivals.delay', DOWNSTREAM);
    expect(down.notes).toEqual([]);
    const predictions = down.nodes.find((node) => node.kind === 'predictions' && node.name.startsWith('late '));
    expect(predictions?.detail).toMatch(/^\d+ predictions from /);
    await expect(ask('prediction:none', UPSTREAM)).rejects.toMatchObject({ reason: 'UNKNOWN_DEFINITION' });
  } finally {
    client.close();
  }
});

test('a prediction has the exact vector, statuses, ages and versions', async () => {
  const answer = await world.predict(latePrediction(['ATL'], { requestData: [{ name: 'wind', doubles: [0.1] }] }));
  expect(answer).toMatchObject({
    vectorNames: ['delay', 'wind'],
    vectors: [1.5, 0.1],
    agesUs: [BigInt(10 * minuteUs), -1n],
    featureService: 'lateness',
    featureServiceVersion: expect.stringMatching(/^[0-9a-f]{12}$/),
    views: [{ view: 'origin_delays', eventTimesUs: [BigInt(morningUs - 10 * minuteUs)] }],
  });
  expect([...answer.statuses]).toEqual([PRESENT, PRESENT]);
  expect(answer.views[0]?.positions[0]).toBeGreaterThan(0n);
  const [prediction] = answer.predictions;
  expect(prediction).toMatchObject({ model: 'late', modelVersion: expect.stringMatching(/^[0-9a-f]{12}$/) });
  expect(prediction?.score).toBeCloseTo(score(1.5, 0.1), 6);
  const direct = await world.clients.features.getFeatures(
    serving.GetFeaturesRequest.fromPartial({
      featureService: 'lateness',
      keys: latePrediction(['ATL']).keys as never,
      asOfUs: BigInt(morningUs),
    }),
  );
  expect(direct.doubles).toEqual([1.5]);
  expect(answer.views).toEqual(direct.views);
  expect(answer.featureServiceVersion).toBe(direct.version);
});

test('Explain reads the features that Predict reads, for the model that Predict would ask, and logs nothing', async () => {
  const request = latePrediction(['ATL', 'ATL'], { requestData: [{ name: 'wind', doubles: [0.1, Number.NaN] }] });
  const logged = await predictionsInStream(world.stores.nats.url, 'millrace.predictions.late');
  const { models } = await world.clients.predictions.explain(
    inference.ExplainRequest.fromPartial({
      deployment: 'late',
      keys: request.keys as never,
      requestData: request.requestData as never,
      asOfUs: request.asOfUs as bigint,
      background: [{ values: [0, 0] }],
    }),
  );
  const [part] = models;
  expect(part).toMatchObject({ model: 'late', method: 'sampled', output: 'probabilities' });
  expect(part?.featureNames).toEqual(['delay', 'wind']);
  expect(part?.rows.map(({ features }) => features)).toEqual([
    [1.5, 0.1],
    [1.5, 0.5],
  ]);
  const late = part?.rows[0]?.outputs[1];
  const [none, delay, wind, both] = [score(0, 0), score(1.5, 0), score(0, 0.1), score(1.5, 0.1)];
  expect(late?.values[0]).toBeCloseTo((delay - none + both - wind) / 2, 5);
  expect(late?.values[1]).toBeCloseTo((wind - none + both - delay) / 2, 5);
  expect(late?.margin).toBeCloseTo(both, 6);
  expect([...(part?.rows[0]?.statuses ?? [])]).toEqual([PRESENT, PRESENT]);
  expect((await predictionsInStream(world.stores.nats.url, 'millrace.predictions.late')).length).toBe(logged.length);
});

test('rows keep their order; null and unknown are NaN with their status, and request data is filled', async () => {
  const winds = { name: 'wind', doubles: [2, -1, Number.NaN] };
  const answer = await world.predict(latePrediction(['XXX', 'ORD', 'ATL'], { requestData: [winds] }));
  expect(answer.vectors).toEqual([Number.NaN, 2, Number.NaN, -1, 1.5, 0.5]);
  expect([...answer.statuses]).toEqual([NOT_FOUND, PRESENT, NULL, PRESENT, PRESENT, PRESENT]);
  expect(answer.agesUs).toEqual([-1n, -1n, BigInt(5 * minuteUs), -1n, BigInt(10 * minuteUs), -1n]);
  expect(answer.predictions[2]?.score).toBeCloseTo(score(1.5, 0.5), 6);
  const rows = Array.from({ length: 10_000 }, (_, row) => (row % 2 === 0 ? 'ATL' : 'XXX'));
  const asOfUsByRow = rows.map((_, row) => BigInt(morningUs - (row % 4 === 2 ? 20 * minuteUs : 0)));
  const many = await world.predict(latePrediction(rows, { asOfUsByRow, omitExplanation: true }));
  expect(many.predictions.length).toBe(10_000);
  expect(many).toMatchObject({ vectorNames: [], vectors: [], agesUs: [], views: [] });
  for (const row of [0, 4, 9_996]) expect(many.predictions[row]?.score).toBeCloseTo(score(1.5, row - 1), 6);
  for (const row of [2, 6, 9_998]) expect(many.predictions[row]?.score).toBeCloseTo(score(1, row - 1), 6);
});

test('predictions that come together share reads of features and runs, and each gets its own answer', async () => {
  const count = async (metric: string) => {
    const text = await (await fetch(`http://${world.inference.http}/metrics`)).text();
    return Number(new RegExp(`^${metric}[^ ]* (\\d+)`, 'm').exec(text)?.[1] ?? Number.NaN);
  };
  const [reads, fused] = [
    'millrace_inference_feature_reads_total',
    'millrace_inference_fused_predictions_total',
  ] as const;
  const before = [await count(reads), await count(fused)] as const;
  const origins = Array.from({ length: 64 }, (_, at) => (at % 3 === 0 ? 'XXX' : 'ATL'));
  const winds = (at: number) => [{ name: 'wind', doubles: [at / 10] }];
  const ends = await Promise.allSettled(
    origins.map((origin, at) => {
      const bad = at === 10 ? { keys: [{ ...nulls()[0], strings: [''], nulls: Buffer.from([1]) }] as never } : {};
      return world.predict(latePrediction([origin], { requestData: winds(at), ...bad }));
    }),
  );
  for (const [at, end] of ends.entries()) {
    if (at === 10) expect(end).toMatchObject({ status: 'rejected', reason: { reason: 'NULL_JOIN_KEY' } });
    else if (end.status === 'rejected') throw end.reason;
    else if (origins[at] === 'XXX') expect(end.value.predictions[0]?.score).toBeNaN();
    else expect(end.value.predictions[0]?.score).toBeCloseTo(score(1.5, at / 10), 6);
  }
  expect((await count(fused)) - before[1]).toBeGreaterThanOrEqual(64);
  expect((await count(reads)) - before[0]).toBeLessThan(40);
});

test('a prediction is in the stream when it is answered, and in ClickHouse once', async () => {
  const answer = await world.predict(latePrediction(['ATL', 'ORD'], { predictionKeys: ['f-1', 'f-2'] }));
  const ids = answer.predictions.map(({ predictionId }) => predictionId);
  const logged = await predictionsInStream(world.stores.nats.url, 'millrace.predictions.late');
  const [first, second] = ids.map((id) => logged.filter(({ predictionId }) => predictionId === id));
  expect(first?.length).toBe(1);
  expect(second?.length).toBe(1);
  expect(first?.[0]).toMatchObject({
    predictionKey: 'f-1',
    deployment: 'late',
    model: 'late',
    modelVersion: answer.predictions[0]?.modelVersion,
    featureService: 'lateness',
    featureServiceVersion: answer.featureServiceVersion,
    score: answer.predictions[0]?.score,
    asOfUs: BigInt(morningUs),
    vectorNames: ['delay', 'wind'],
    vector: [1.5, -1],
    statuses: [PRESENT, PRESENT],
    agesUs: [BigInt(10 * minuteUs), -1n],
    entity: new Map([['origin', 'ATL']]),
  });
  const rows = await inHistory(ids);
  expect(rows).toEqual([
    {
      prediction_key: 'f-1',
      model: 'late',
      score: answer.predictions[0]?.score,
      as_of: '2001-04-02 10:05:00.000000',
      vector: [1.5, -1],
      statuses: [PRESENT, PRESENT],
      ages_us: [10 * minuteUs, -1],
      entity: { origin: 'ATL' },
    },
    // a null gives no score: not a number, which is not 0
    {
      prediction_key: 'f-2',
      model: 'late',
      score: null,
      as_of: '2001-04-02 10:05:00.000000',
      vector: [null, 0],
      statuses: [NULL, PRESENT],
      ages_us: [5 * minuteUs, -1],
      entity: { origin: 'ORD' },
    },
  ]);
});

test('outcomes give the AUC and the log loss that brute force gives; a prediction without a score does not count', async () => {
  const flights = Array.from({ length: 400 }, (_, at) => ({ flight: `q-${at}`, late: (at * 7919) % 5 < at % 3 }));
  // scores far enough apart that each has a bin of its own: AUC is exact then
  const winds = flights.map((_, at) => ((at * 37) % 400) / 100 - 2);
  const request = latePrediction(new Array<string>(400).fill('ATL'), {
    requestData: [{ name: 'wind', doubles: winds }],
    predictionKeys: flights.map(({ flight }) => flight),
  });
  const { predictions } = await world.predict(request);
  await world.predict(latePrediction(['ORD'], { predictionKeys: ['q-null'] }));
  const before = await quality();
  await world.land(...flights, { flight: 'q-null', late: true }, { flight: 'q-stranger', late: true });
  await world.land({ flight: 'q-unknown', late: null });
  const scores = predictions.map((prediction) => prediction.score);
  const labels = flights.map((flight) => flight.late);
  await eventually(async () => expect((await quality())?.outcomes).toBe(400n), { timeoutMs: 20_000 });
  const after = await quality();
  expect(after).toMatchObject({ model: 'late', modelVersion: predictions[0]?.modelVersion });
  expect(after?.predictions).toBe(before?.predictions);
  expect(after?.auc).toBeCloseTo(auc(scores, labels), 12);
  expect(after?.logLoss).toBeCloseTo(logLoss(scores, labels), 9);
  expect(after?.positiveRate).toBeCloseTo(labels.filter(Boolean).length / 400, 12);
  const squares = scores.map((score, at) => (score - Number(labels[at])) ** 2);
  expect(after?.brier).toBeCloseTo(squares.reduce((sum, square) => sum + square, 0) / 400, 12);
  expect(after?.rmse).toBeCloseTo(Math.sqrt(after?.brier ?? 0), 12);
  // every one of the outcomes is of a flight from Atlanta, and the other origins have none
  const outcomes = (after?.segments ?? []).map(({ column, value, outcomes: of }) => [column, value, of]);
  expect(outcomes.filter(([, , of]) => of !== 0n)).toEqual([['origin', 'ATL', 400n]]);
  expect(outcomes).toContainEqual(['origin', 'ORD', 0n]);
});

test('an outcome right behind its prediction is never missed', async () => {
  const before = Number((await quality())?.outcomes);
  for (let at = 0; at < 50; at++) {
    await world.predict(latePrediction(['ATL'], { predictionKeys: [`fast-${at}`] }));
    await world.land({ flight: `fast-${at}`, late: at % 2 === 0 });
  }
  await eventually(async () => expect(Number((await quality())?.outcomes)).toBe(before + 50));
});

test('a deployment spreads rows over its targets by key, and the answer keeps their order', async () => {
  await world.apply(plain, split);
  await world.allReady('plain');
  const rows = Array.from({ length: 200 }, (_, row) => row);
  const request = latePrediction(new Array<string>(200).fill('ATL'), {
    deployment: 'split',
    requestData: [
      { name: 'wind', doubles: rows.map((row) => row / 100 - 1) },
      { name: 'delay', doubles: rows.map(() => 1.5) },
    ],
    predictionKeys: rows.map((row) => `split-${row}`),
  });
  await eventually(() => world.predict(request));
  const first = await world.predict(request);
  const second = await world.predict(request);
  const models = first.predictions.map(({ model }) => model);
  expect(new Set(models)).toEqual(new Set(['late', 'plain']));
  expect(second.predictions.map(({ model }) => model)).toEqual(models);
  for (const row of rows) expect(first.predictions[row]?.score).toBeCloseTo(score(1.5, row / 100 - 1), 6);
  expect(first.vectors).toEqual(rows.flatMap((row) => [1.5, row / 100 - 1]));
  expect(first.agesUs.filter((_, at) => at % 2 === 0)).toEqual(
    models.map((model) => (model === 'late' ? BigInt(10 * minuteUs) : -1n)),
  );
});

test('without NATS a prediction is not answered, and afterwards it is', async () => {
  process.kill(world.stores.nats.pid, 'SIGSTOP');
  try {
    const waiting = world.clients.predictions.predict(
      inference.PredictRequest.fromPartial(latePrediction(['ATL']) as never),
      { timeoutMs: 500 },
    );
    await expect(waiting).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' });
    expect(await world.oip.serverLive({})).toEqual({ live: true });
  } finally {
    process.kill(world.stores.nats.pid, 'SIGCONT');
  }
  await eventually(async () => (await world.predict(latePrediction(['ATL']))).predictions.length === 1);
});

const nulls = () => {
  const keys = latePrediction(['ATL', '']).keys ?? [];
  return keys.map((key) => ({ ...key, nulls: Buffer.from([0, 1]) }));
};
const many = new Array<string>(10_001).fill('ATL');

test.each([
  ['an unknown deployment', { deployment: 'nope' }, 5, 'UNKNOWN_DEPLOYMENT', ['"nope"', 'deployments: late']],
  ['no rows', { keys: [], requestData: [] }, 3, 'INVALID_ARGUMENT', ['no rows', 'give keys']],
  ['a missing join key', { keys: [] }, 3, 'MISSING_JOIN_KEY', ['"origin"']],
  ['a null key', { ...latePrediction(['ATL', 'ORD']), keys: nulls() }, 3, 'NULL_JOIN_KEY', ['"origin"', '1']],
  ['missing request data', { requestData: [] }, 3, 'MISSING_REQUEST_DATA', ['"wind"', 'given: none']],
  [
    'uneven request data',
    { requestData: [{ name: 'wind', doubles: [1, 2] }] },
    3,
    'INVALID_ARGUMENT',
    ['"wind"', '2 values', 'give one for each row'],
  ],
  ['uneven prediction keys', { predictionKeys: ['a', 'b'] }, 3, 'INVALID_ARGUMENT', ['prediction_keys', '2 values']],
  ['uneven read times', { asOfUsByRow: [1n, 2n] }, 3, 'INVALID_ARGUMENT', ['as_of_us_by_row', '2 values']],
  ['10,001 rows', latePrediction(many), 3, 'TOO_MANY_ROWS', ['10001', '10000', 'several requests']],
] as const)('%s is refused with what was given and what to do, and the service goes on', async (...of) => {
  const [, more, code, reason, words] = of;
  const refused: Error = await world.predict({ ...latePrediction(['ATL']), ...(more as object) }).then(
    () => new Error('it was answered'),
    (error) => error,
  );
  expect(refused).toMatchObject({ reason, code });
  for (const word of words) expect(refused.message).toContain(word);
  expect(await world.oip.serverLive({})).toEqual({ live: true });
  expect((await world.predict(latePrediction(['ATL']))).predictions.length).toBe(1);
});

test('killed and started again: the model is loaded, every acknowledged prediction is in ClickHouse once, and quality is what it was', async () => {
  const before = await quality();
  const acknowledged: string[] = [];
  let running = true;
  const callers = Array.from({ length: 4 }, async () => {
    while (running) {
      const answer = await world.predict(latePrediction(['ATL', 'ATL', 'ATL'])).catch(() => undefined);
      acknowledged.push(...(answer?.predictions ?? []).map(({ predictionId }) => predictionId));
      if (!answer) await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });
  for (let kill = 0; kill < 3; kill++) {
    const sofar = acknowledged.length;
    await eventually(() => acknowledged.length > sofar + 100, { timeoutMs: 30_000 });
    await world.inference.kill9();
    await world.inference.restart();
  }
  await world.allReady('late');
  running = false;
  await Promise.all(callers);
  expect(acknowledged.length).toBeGreaterThan(300);
  const logged = await predictionsInStream(world.stores.nats.url, 'millrace.predictions.*');
  await eventually(async () => expect(await countInHistory()).toEqual({ rows: logged.length, ids: logged.length }), {
    timeoutMs: 30_000,
  });
  const kept = new Set(logged.map(({ predictionId }) => predictionId));
  expect(acknowledged.filter((id) => !kept.has(id))).toEqual([]);
  await eventually(
    async () => {
      const predictions = BigInt(logged.filter(({ model }) => model === 'late').length);
      // segments count predictions too
      expect(await quality()).toEqual({ ...before, predictions, segments: expect.any(Array) });
    },
    { timeoutMs: 20_000 },
  );
});

async function quality() {
  const { models } = await world.clients.predictions.getQuality({ deployment: 'late' });
  expect(models.length).toBeLessThanOrEqual(1);
  return models[0];
}

/** Every prediction under the subject. */
async function countInHistory(): Promise<{ rows: number; ids: number }> {
  const [row] = await world.sql<{ rows: number; ids: number }>(
    'SELECT toUInt32(count()) AS rows, toUInt32(uniqExact(prediction_id)) AS ids FROM predictions',
  );
  return row ?? { rows: 0, ids: 0 };
}

async function inHistory(ids: readonly string[]) {
  const list = ids.map((id) => `'${id}'`).join(', ');
  return eventually(
    async () => {
      const rows = await world.sql(
        `SELECT prediction_key, model, if(isNaN(score), null, score) AS score, as_of, vector, statuses,
           arrayMap(x -> toFloat64(x), ages_us) AS ages_us, entity FROM predictions WHERE prediction_id IN (${list}) ORDER BY prediction_key`,
      );
      return rows.length >= ids.length && rows;
    },
    { timeoutMs: 20_000 },
  );
}
