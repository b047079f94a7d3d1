import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { alerts, rollouts as contract, inference, oip } from '@millrace/contracts';
import { openNats, readStream } from '@millrace/events';
import { connect } from '@millrace/rpc';
import { deployment } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runMillrace } from './cli-world.ts';
import { type InferenceWorld, lateness, onnxModel, openInferenceWorld, plain } from './inference-world.ts';

let world: InferenceWorld;
let client: ReturnType<typeof openClient>;
const openClient = () => connect(contract.RolloutServiceService, world.inference.grpc, { defaultTimeoutMs: 20_000 });

const columns = [{ request: 'delay' }, { request: 'wind' }] as const;
const ofColumn = (name: string, column: number) =>
  onnxModel(name, { file: 'logistic', input: { name: 'X', columns }, output: { name: 'probabilities', column } });
/** As `plain`; every call fails, as the output has no such column; and one whose score is that of the other class. */
const twin = ofColumn('twin', 1);
const broken = ofColumn('broken', 7);
const shifted = ofColumn('shifted', 0);
const names = ['good', 'bad', 'other', 'hand', 'tensors', 'shadowed', 'agreeing'] as const;
/** Its inputs have other names than `plain`’s. */
const stranger = onnxModel('two-inputs');
const lateTwin = onnxModel('late_twin', {
  file: 'logistic',
  featureService: lateness,
  input: { name: 'X', columns: [{ feature: 'delay' }, { request: 'wind', fill: 0.5 }] },
  output: { name: 'probabilities', column: 1 },
});
const even = deployment('even', { owner: 'tests', targets: [{ model: plain }, { model: twin }] });

beforeAll(async () => {
  world = await openInferenceWorld();
  const deployments = names.map((name) => deployment(name, { owner: 'tests', targets: [{ model: plain }] }));
  await world.applyPredictions();
  await world.apply(lateTwin, plain, twin, broken, shifted, stranger, even, ...deployments);
  await world.allReady('late', 'late_twin', 'plain', 'twin', 'broken', 'shifted', 'two-inputs');
  client = openClient();
}, 180_000);

afterAll(async () => {
  client?.close();
  await world?.close();
});

const guardrail = { tolerance: 1, margin: 3, negligible: 0.05, limit: 0, weight: 1, threshold: undefined };
const plan = contract.RolloutPlan.fromPartial({
  steps: [
    { share: 0.3, shadow: 0, minSeconds: 0.5, minRequests: 50 },
    { share: 0.5, shadow: 0, minSeconds: 0.5, minRequests: 100 },
  ],
  guardrails: [
    { ...guardrail, kind: 'errors' },
    { ...guardrail, kind: 'not_finite' },
    { kind: 'score_shift', limit: 0.25, weight: 1 },
  ],
  alpha: 0.01,
  beta: 0.05,
  rollbackMinRequests: 20,
  killShare: 0.5,
  killRequests: 20,
  maxSeconds: 600,
});

let unit = 0;
/** A call for one new unit; the model that answered, or undefined when it failed. */
async function call(name: string): Promise<string | undefined> {
  const at = unit++;
  const request = inference.PredictRequest.fromPartial({
    deployment: name,
    requestData: [
      { name: 'delay', doubles: [2 + Math.sin(at)] },
      { name: 'wind', doubles: [0.5 + 0.1 * Math.cos(3 * at)] },
    ],
    predictionKeys: [`unit-${at}`],
  });
  const answer = await world.clients.predictions.predict(request).catch(() => undefined);
  return answer?.predictions[0]?.model;
}

/** Live traffic until the rollout has a verdict. */
async function verdict(name: string): Promise<contract.Rollout> {
  const endMs = performance.now() + 60_000;
  while (performance.now() < endMs) {
    await Promise.all(Array.from({ length: 20 }, () => call(name)));
    const { rollout } = await client.getRollout({ deployment: name });
    if (rollout && rollout.status !== 'running') return rollout;
  }
  throw new Error(`no verdict: ${JSON.stringify((await client.getRollout({ deployment: name })).rollout?.now)}`);
}

const start = (name: string, model: string, asked = plan) =>
  client.startRollout({ deployment: name, model, modelVersion: '', plan: asked, by: 'ada' });

test('a candidate whose calls fail is rolled back at once, and nothing fails afterwards', async () => {
  await start('bad', 'broken');
  const rollout = await verdict('bad');
  expect(rollout).toMatchObject({ status: 'rolled_back', share: 0 });
  expect(rollout.decisions.map(({ action }) => action)).toContain('rollback');
  const models = await Promise.all(Array.from({ length: 100 }, () => call('bad')));
  expect(new Set(models)).toEqual(new Set(['plain']));
});

test('one whose scores move is rolled back by evidence, and the audit says by which', async () => {
  await start('other', 'shifted');
  const rollout = await verdict('other');
  expect(rollout.status).toBe('rolled_back');
  const nats = await openNats(world.stores.nats.url, { name: 'audit' });
  const audited: { action: string; reason: string; by: string; decision: { evidence: Evidence[] } }[] = [];
  const stop = AbortSignal.timeout(10_000);
  for await (const { data, subject, pending } of readStream(nats, {
    stream: 'ROLLOUT_DECISIONS',
    fromSeq: 1,
    signal: stop,
  })) {
    if (subject === 'millrace.rollouts.other') audited.push(JSON.parse(Buffer.from(data).toString()));
    if (pending === 0) break;
  }
  await nats.close();
  expect(audited[0]).toMatchObject({ action: 'start', by: 'ada' });
  const last = audited.at(-1);
  expect(last).toMatchObject({ action: 'rollback', reason: 'GUARDRAIL_VIOLATED', by: 'evidence' });
  const shift = last?.decision.evidence.find(({ guardrail: kind }) => kind === 'score_shift');
  expect(shift?.verdict).toBe('violated');
  expect(shift?.pWorse).toBeLessThanOrEqual(0.01);
  // and people hear of it
  const alerting = await openNats(world.stores.nats.url, { name: 'alerts' });
  const heard: string[] = [];
  for await (const { data, pending } of readStream(alerting, { stream: 'ALERTS', fromSeq: 1, signal: stop })) {
    heard.push(alerts.Alert.decode(data).message);
    if (pending === 0) break;
  }
  await alerting.close();
  expect(heard.filter((message) => message.startsWith('deployment "other"'))).toEqual([
    expect.stringMatching(/candidate "shifted" .* was rolled back after \d+ requests, GUARDRAIL_VIOLATED: score_shift/),
  ]);
});

interface Evidence {
  readonly guardrail: string;
  readonly verdict: string;
  readonly pWorse: number;
}

test('one as good as what serves goes through the steps and is promoted, and stays so through a restart', async () => {
  await start('good', 'twin');
  const rollout = await verdict('good');
  expect(rollout).toMatchObject({ status: 'promoted', share: 1 });
  expect(rollout.decisions.map(({ action }) => action)).toEqual(
    expect.arrayContaining(['start', 'advance', 'promote']),
  );
  expect(rollout.decisions.at(-1)?.evidence.map(({ verdict: each }) => each)).toEqual(['passed', 'passed', 'passed']);
  expect(await call('good')).toBe('twin');
  await start('hand', 'twin');
  await client.controlRollout({ deployment: 'hand', action: 'pause', by: 'ada', reason: 'a look' });

  await world.inference.restart();
  await world.allReady('plain', 'twin');
  expect((await client.getRollout({ deployment: 'good' })).rollout?.status).toBe('promoted');
  expect((await client.getRollout({ deployment: 'hand' })).rollout?.status).toBe('paused');
  expect(new Set(await Promise.all(Array.from({ length: 50 }, () => call('good'))))).toEqual(new Set(['twin']));
}, 120_000);

test('a person decides in a command, in effect within a second', async () => {
  const endpoints = join(world.dir, 'endpoints.json');
  writeFileSync(endpoints, JSON.stringify({ services: { 'model-inference': { grpc: world.inference.grpc } } }));
  const millrace = (...args: string[]) => runMillrace(world.dir, ['--endpoints', endpoints, 'rollout', ...args]);
  const resumed = await millrace('resume', 'hand');
  expect(resumed.out + resumed.err).toMatch(/hand: twin [0-9a-f]+ is running, with 30.00 % of traffic/);
  const seen = await Promise.all(Array.from({ length: 60 }, () => call('hand')));
  expect(new Set(seen)).toEqual(new Set(['plain', 'twin']));
  const startedMs = performance.now();
  await client.controlRollout({ deployment: 'hand', action: 'rollback', by: 'ada', reason: 'enough' });
  expect(new Set(await Promise.all(Array.from({ length: 60 }, () => call('hand'))))).toEqual(new Set(['plain']));
  expect(performance.now() - startedMs).toBeLessThan(1_000);
  const status = await millrace('status', 'hand');
  expect(status.out).toMatch(/ada: rollback, enough/);
  const again = await millrace('promote', 'hand');
  expect(again.code).toBe(1);
  expect(again.err).toMatch(/is rolled_back: "promote" does not apply/);
  expect((await millrace('status', 'nothing')).err).toMatch(/no rollout.*UNKNOWN_ROLLOUT/s);
});

test('a rollout that cannot be is refused', async () => {
  await expect(start('hand', 'plain')).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  await expect(start('hand', 'none')).rejects.toMatchObject({ reason: 'UNKNOWN_MODEL' });
  await expect(start('none', 'twin')).rejects.toMatchObject({ reason: 'UNKNOWN_DEPLOYMENT' });
  await start('hand', 'twin');
  await expect(start('hand', 'shifted')).rejects.toMatchObject({ reason: 'ROLLOUT_RUNS' });
  await eventually(async () => (await client.getRollout({ deployment: 'hand' })).rollout?.status === 'running');
});

const tensors = (modelName: string, more: Partial<oip.ModelInferRequest> = {}) =>
  oip.ModelInferRequest.fromPartial({
    modelName,
    inputs: [{ name: 'X', datatype: 'FP32', shape: [1n, 2n], contents: { fp32Contents: [1, 0.5] } }],
    ...more,
  });
const ofUnit = (text: string) =>
  new Map<string, oip.InferParameter>([['unit', { parameterChoice: { $case: 'stringParam', value: text } }]]);
const modelOf = ({ parameters }: oip.ModelInferResponse) => parameters.get('model')?.parameterChoice?.value;

test('tensors for a deployment go by weight, each unit to one model on every wire, and the answer says which version it was', async () => {
  const versions = new Map<unknown, string>();
  for (const name of ['plain', 'twin']) versions.set(name, (await world.oip.modelInfer(tensors(name))).modelVersion);
  const units = Array.from({ length: 40 }, (_, at) => `unit ${at}`);
  const unary = await Promise.all(
    units.map((text) => world.oip.modelInfer(tensors('even', { parameters: ofUnit(text) }))),
  );
  expect(new Set(unary.map(modelOf))).toEqual(new Set(['plain', 'twin']));
  for (const answer of unary) expect(answer.modelVersion).toBe(versions.get(modelOf(answer)));
  expect(unary[0]?.modelName).toBe('even');

  // the same units by the request's id on a stream, and by a header over REST
  async function* requests() {
    for (const text of units) yield tensors('even', { id: text });
  }
  const streamed: unknown[] = [];
  for await (const { inferResponse } of world.oip.modelStreamInfer(requests()))
    streamed.push(inferResponse && modelOf(inferResponse));
  expect(streamed).toEqual(unary.map(modelOf));
  for (const [at, text] of units.slice(0, 10).entries()) {
    const answer = await fetch(`http://${world.inference.http}/v2/models/even/infer`, {
      method: 'POST',
      headers: { 'millrace-unit': text },
      body: JSON.stringify({ inputs: [{ name: 'X', datatype: 'FP32', shape: [1, 2], data: [1, 0.5] }] }),
    });
    expect(await answer.json()).toMatchObject({
      model_name: 'even',
      parameters: { model: modelOf(unary[at] as never) },
    });
  }
  expect((await world.oip.modelReady({ name: 'even', version: '' })).ready).toBe(true);
  expect((await world.oip.modelMetadata({ name: 'even', version: '' })).inputs.map(({ name }) => name)).toEqual(['X']);
  // a version that is named is not routed
  const named = await world.oip.modelInfer(tensors('twin', { modelVersion: versions.get('twin') ?? '' }));
  expect([named.modelVersion, modelOf(named)]).toEqual([versions.get('twin'), undefined]);
  await expect(world.oip.modelInfer(tensors('even', { modelVersion: 'x' }))).rejects.toMatchObject({
    reason: 'UNKNOWN_MODEL',
  });
});

test('a candidate that cannot take the tensors that the deployment’s own model takes is rolled back', async () => {
  await start('tensors', 'two-inputs');
  await eventually(
    async () => {
      const answers = Array.from({ length: 20 }, () => world.oip.modelInfer(tensors('tensors')).catch(() => undefined));
      await Promise.all(answers);
      return (await client.getRollout({ deployment: 'tensors' })).rollout?.status === 'rolled_back';
    },
    { timeoutMs: 20_000 },
  );
  const after = await Promise.all(Array.from({ length: 40 }, () => world.oip.modelInfer(tensors('tensors'))));
  expect(new Set(after.map(modelOf))).toEqual(new Set(['plain']));
});

const shadowPlan = contract.RolloutPlan.fromPartial({
  ...plan,
  steps: [
    { share: 0, shadow: 1, minSeconds: 0.5, minRequests: 100 },
    { share: 0.5, shadow: 0, minSeconds: 0.5, minRequests: 50 },
  ],
  guardrails: [
    { ...guardrail, kind: 'errors' },
    { kind: 'disagreement', limit: 0.2, weight: 1 },
  ],
});

test('a shadow that disagrees is rolled back before any caller was answered by it, and the status says how', async () => {
  await start('shadowed', 'shifted', shadowPlan);
  const seen = new Set<string | undefined>();
  await eventually(
    async () => {
      for (const model of await Promise.all(Array.from({ length: 10 }, () => call('shadowed')))) seen.add(model);
      return (await client.getRollout({ deployment: 'shadowed' })).rollout?.status === 'rolled_back';
    },
    { timeoutMs: 20_000 },
  );
  expect(seen).toEqual(new Set(['plain']));
  const { rollout } = await client.getRollout({ deployment: 'shadowed' });
  const { shadow } = rollout ?? {};
  expect(shadow?.disagreed).toBe(shadow?.pairs);
  expect(shadow?.pairs).toBeGreaterThanOrEqual(20);
  // p against 1 − p
  expect(shadow?.meanDifference).toBeGreaterThan(0.1);
  expect(shadow?.p95Difference).toBeGreaterThanOrEqual((shadow?.meanDifference ?? 0) * 0.9);
  expect(rollout?.decisions.at(-1)).toMatchObject({ reason: 'GUARDRAIL_VIOLATED', by: 'evidence' });
  const endpoints = join(world.dir, 'endpoints.json');
  const { out } = await runMillrace(world.dir, ['--endpoints', endpoints, 'rollout', 'status', 'shadowed']);
  expect(out).toMatch(/disagrees on (\d+) of \1 rows \(100.00 %\)/);
  expect(out).toMatch(/\|Δ\| of scores: mean 0\.\d+, p95 0\.\d+; time: \d+\.\d+ ms/);
});

test('one that agrees goes on to be a canary, also of tensors; features are read once for both', async () => {
  await start('agreeing', 'twin', shadowPlan);
  await eventually(
    async () => {
      const calls = Array.from({ length: 10 }, () => world.oip.modelInfer(tensors('agreeing')));
      await Promise.all([...calls, ...Array.from({ length: 10 }, () => call('agreeing'))]);
      return (await client.getRollout({ deployment: 'agreeing' })).rollout?.status === 'promoted';
    },
    { timeoutMs: 30_000 },
  );
  const { rollout } = await client.getRollout({ deployment: 'agreeing' });
  expect(rollout?.shadow).toMatchObject({ disagreed: 0, meanDifference: 0, failed: 0 });
  expect(rollout?.decisions.map(({ action }) => action)).toEqual(
    expect.arrayContaining(['start', 'advance', 'promote']),
  );

  await start('late', 'late_twin', shadowPlan);
  const metric = async (name: string) => {
    const text = await (await fetch(`http://${world.inference.http}/metrics`)).text();
    return Number(new RegExp(`^${name}\\S* (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
  };
  const before = await metric('millrace_inference_fused_predictions_total');
  for (let at = 0; at < 30; at++)
    await world.clients.predictions.predict(
      inference.PredictRequest.fromPartial({
        deployment: 'late',
        keys: [{ name: 'origin', strings: ['ATL'] }],
        requestData: [{ name: 'wind', doubles: [at] }],
        predictionKeys: [`flight-${at}`],
      }),
    );
  await eventually(async () => (await client.getRollout({ deployment: 'late' })).rollout?.shadow?.pairs === 30);
  expect((await metric('millrace_inference_fused_predictions_total')) - before).toBe(30);
});

test('a plan whose disagreement has no shadow is refused', async () => {
  const blind = { ...shadowPlan, steps: plan.steps };
  await expect(start('even', 'shifted', blind)).rejects.toMatchObject({
    reason: 'INVALID_ARGUMENT',
    message: expect.stringContaining('without a step that shadows'),
  });
});
