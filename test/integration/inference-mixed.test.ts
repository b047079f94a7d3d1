import { rollouts as contract, inference, registry } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { deployment, type Model, model } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { customDir, logisticCustom, logisticOnnx } from './custom-world.ts';
import { type OipWorld, openOipWorld } from './oip-world.ts';

/** One model whose versions are an ONNX file, a module and a remote model, under one deployment. */
let backend: OipWorld;
let world: OipWorld;
let predictions: ReturnType<typeof openPredictions>;
let rollouts: ReturnType<typeof openRollouts>;
const openPredictions = () => connect(inference.PredictionServiceService, world.grpc, { defaultTimeoutMs: 20_000 });
const openRollouts = () => connect(contract.RolloutServiceService, world.grpc, { defaultTimeoutMs: 20_000 });

const vector = {
  input: { name: 'X', columns: [{ request: 'delay' }, { request: 'wind' }] },
  output: { name: 'probabilities', column: 1 },
} as const;

beforeAll(async () => {
  [backend, world] = await Promise.all([
    openOipWorld({ MILLRACE_MODEL_DIR: customDir }, []),
    openOipWorld({ MILLRACE_MODEL_DIR: customDir }, []),
  ]);
  await backend.apply(logisticCustom('logistic'));
  await backend.ready('logistic');
  const risk = logisticOnnx('risk');
  await deployAt(risk, versionIn(await world.apply(risk)));
  await world.ready('risk');
  predictions = openPredictions();
  rollouts = openRollouts();
}, 120_000);

afterAll(async () => {
  predictions?.close();
  rollouts?.close();
  await Promise.all([world?.close(), backend?.close()]);
});

function versionIn({ changes }: Awaited<ReturnType<OipWorld['apply']>>): string {
  return changes.find(({ kind }) => kind === registry.DefinitionKind.MODEL)?.newVersion ?? '';
}

/** A target without a version would go along with the model. */
const deployAt = (risk: Model, version: string) =>
  world.apply(deployment('risk', { owner: 'tests', targets: [{ model: risk, version }] }));

let unit = 0;
async function call() {
  const at = unit++;
  const { predictions: given } = await predictions.predict(
    inference.PredictRequest.fromPartial({
      deployment: 'risk',
      requestData: [
        { name: 'delay', doubles: [2 * Math.sin(at)] },
        { name: 'wind', doubles: [Math.cos(3 * at)] },
      ],
      predictionKeys: [`unit-${at}`],
    } as never),
  );
  return given[0]?.modelVersion ?? '';
}

const plan = contract.RolloutPlan.fromPartial({
  steps: [
    { share: 0.3, shadow: 0, minSeconds: 0.5, minRequests: 50 },
    { share: 0.5, shadow: 0, minSeconds: 0.5, minRequests: 100 },
  ],
  guardrails: [
    { kind: 'errors', tolerance: 1, margin: 3, negligible: 0.05, limit: 0, weight: 1, threshold: undefined },
    { kind: 'score_shift', limit: 0.25, weight: 1 },
  ],
  alpha: 0.01,
  beta: 0.05,
  rollbackMinRequests: 20,
  killShare: 0.5,
  killRequests: 20,
  maxSeconds: 600,
} as never);

/** Rolls the model's current version out and sends traffic until that is decided. */
async function rollOut(defined: Model) {
  const version = versionIn(await world.apply(defined));
  await eventually(async () => expect((await world.oip.modelReady({ name: 'risk', version })).ready).toBe(true), {
    timeoutMs: 20_000,
  });
  await rollouts.startRollout({ deployment: 'risk', model: 'risk', modelVersion: version, plan, by: 'ada' });
  const seen = new Set<string>();
  const endMs = performance.now() + 60_000;
  while (performance.now() < endMs) {
    for (const answered of await Promise.all(Array.from({ length: 20 }, call))) seen.add(answered);
    const { rollout } = await rollouts.getRollout({ deployment: 'risk' });
    if (rollout && rollout.status !== 'running') return { version, status: rollout.status, seen };
  }
  return expect.fail('no verdict');
}

test('traffic goes from an ONNX file to a module, and from there to a remote model, each on evidence', async () => {
  const onnx = await call();
  const custom = await rollOut(logisticCustom('risk'));
  expect(custom.status).toBe('promoted');
  expect(custom.seen).toEqual(new Set([onnx, custom.version]));
  expect(await call()).toBe(custom.version);
  await deployAt(logisticOnnx('risk'), custom.version);

  const remote = await rollOut(
    model('risk', { owner: 'tests', format: 'remote', uri: `grpc://${backend.grpc}/logistic`, ...vector }),
  );
  expect(remote.status).toBe('promoted');
  expect(remote.seen).toEqual(new Set([custom.version, remote.version]));
  expect(await call()).toBe(remote.version);
});

test('a module that says something else is rolled back', async () => {
  const before = await call();
  await deployAt(logisticOnnx('risk'), before);
  const shifted = await rollOut(logisticCustom('risk', 20));
  expect(shifted.status).toBe('rolled_back');
  expect(new Set(await Promise.all(Array.from({ length: 50 }, call)))).toEqual(new Set([before]));
});
