import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rollouts as contract, inference } from '@millrace/contracts';
import { openNats, readStream } from '@millrace/events';
import { connect } from '@millrace/rpc';
import { deployment } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runMillrace } from './cli-world.ts';
import { type InferenceWorld, onnxModel, openInferenceWorld, plain } from './inference-world.ts';

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
const names = ['good', 'bad', 'other', 'hand'] as const;

beforeAll(async () => {
  world = await openInferenceWorld();
  const deployments = names.map((name) => deployment(name, { owner: 'tests', targets: [{ model: plain }] }));
  await world.apply(plain, twin, broken, shifted, ...deployments);
  await world.allReady('plain', 'twin', 'broken', 'shifted');
  client = openClient();
}, 180_000);

afterAll(async () => {
  client?.close();
  await world?.close();
});

const guardrail = { tolerance: 1, margin: 3, negligible: 0.05, limit: 0, weight: 1 };
const plan: contract.RolloutPlan = {
  steps: [
    { share: 0.3, minSeconds: 0.5, minRequests: 50 },
    { share: 0.5, minSeconds: 0.5, minRequests: 100 },
  ],
  guardrails: [
    { ...guardrail, kind: 'errors' },
    { ...guardrail, kind: 'not_finite' },
    { kind: 'score_shift', tolerance: 0, margin: 0, negligible: 0, limit: 0.25, weight: 1 },
  ],
  alpha: 0.01,
  beta: 0.05,
  rollbackMinRequests: 20,
  killShare: 0.5,
  killRequests: 20,
  maxSeconds: 600,
};

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

const start = (name: string, model: string) =>
  client.startRollout({ deployment: name, model, modelVersion: '', plan, by: 'ada' });

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
