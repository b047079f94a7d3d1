import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { aliases as contract, inference, oip, rollouts } from '@millrace/contracts';
import { openNats, readStream } from '@millrace/events';
import { connect } from '@millrace/rpc';
import { deployment } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { runMillrace } from './cli-world.ts';
import { fp32, inferRequest } from './inference-world.ts';
import { openOipWorld, scoreColumns, scoreModel } from './oip-world.ts';

/** Two versions of a model, its aliases, and a second process that follows them. */
let world: Awaited<ReturnType<typeof openWorld>>;
/** Another column of the output is another version; its score says which one answered. */
const score = (column: number) => scoreModel('score', column);
const followed = deployment('followed', {
  owner: 'tests',
  targets: [{ model: score(0), version: '@champion' }],
});

async function openWorld() {
  const base = await openOipWorld();
  const currentVersion = async () => {
    const { registered } = await base.registry.listDefinitions({ kind: 5 });
    return registered.find(({ definition }) => definition?.name === 'score')?.version ?? '';
  };
  const versions: string[] = [];
  for (const column of [0, 1, 2]) {
    await base.apply(score(column));
    versions.push(await currentVersion());
  }
  const timeout = { defaultTimeoutMs: 20_000 };
  const other = await base.mesh.service('model-inference', base.env);
  const aliases = connect(contract.AliasServiceService, base.grpc, timeout);
  const predictions = connect(inference.PredictionServiceService, base.grpc, timeout);
  const otherOip = connect(oip.GRPCInferenceServiceService, other.grpc, timeout);
  const endpoints = join(base.dir, 'endpoints.json');
  writeFileSync(endpoints, JSON.stringify({ services: { 'model-inference': { grpc: base.grpc } } }));
  return {
    ...base,
    versions,
    aliases,
    predictions,
    otherOip,
    millrace: (...args: string[]) => runMillrace(base.dir, ['--endpoints', endpoints, 'models', 'alias', ...args]),
    async close() {
      for (const client of [aliases, predictions, otherOip]) client.close();
      await base.close();
    },
  };
}

beforeAll(async () => {
  world = await openWorld();
}, 180_000);

afterAll(() => world?.close());

const request = (name: string, version: string) => ({
  ...inferRequest(name, [fp32('IN', [[10, 11, 12, 13]])]),
  modelVersion: version,
});
const answeredBy = async (name: string, version: string, client = world.oip) =>
  (await client.modelInfer(request(name, version))).modelVersion;
const set = (...targets: [alias: string, version: string][]) =>
  world.aliases.setAliases({
    model: 'score',
    targets: targets.map(([alias, version]) => ({ alias, version })),
    by: 'ada',
    reason: 'a test',
  });
const predicted = async () => {
  const { predictions } = await world.predictions.predict(
    inference.PredictRequest.fromPartial({
      deployment: 'followed',
      requestData: scoreColumns.map(({ request: name }, at) => ({ name, doubles: [10 + at] })),
    }),
  );
  return predictions[0]?.modelVersion;
};

test('an alias is taken wherever a version is, on gRPC and REST, and the answer says which version it was', async () => {
  const [v0 = '', v1 = '', v2 = ''] = world.versions;
  await set(['champion', v0], ['challenger', v1]);
  for (const [name, version, expected] of [
    ['score', 'champion', v0],
    ['score', '@champion', v0],
    ['score@champion', '', v0],
    ['score', 'challenger', v1],
    ['score', '', v2],
    ['score', v2, v2],
  ] as const)
    expect(await answeredBy(name, version), `${name} ${version}`).toBe(expected);
  const rest = await fetch(`http://${world.http}/v2/models/score/versions/champion/infer`, {
    method: 'POST',
    body: JSON.stringify({ inputs: [{ name: 'IN', datatype: 'FP32', shape: [1, 4], data: [1, 2, 3, 4] }] }),
  });
  expect(await rest.json()).toMatchObject({ model_name: 'score', model_version: v0 });
  expect(await world.oip.modelReady({ name: 'score', version: 'champion' })).toEqual({ ready: true });
});

test('an alias that is not there is NOT_FOUND and the error names those that are', async () => {
  for (const [name, version] of [
    ['score', 'champoin'],
    ['score@champoin', ''],
  ] as const)
    await expect(answeredBy(name, version)).rejects.toMatchObject({
      code: 5,
      message: expect.stringMatching(
        /model "score" has no .*alias "champoin"; versions: .*; aliases: champion, challenger/,
      ),
    });
  await expect(set(['champion', '@nobody'])).rejects.toMatchObject({ reason: 'UNKNOWN_ALIAS', code: 5 });
  await expect(set(['champion', '000000000000'])).rejects.toMatchObject({ reason: 'UNKNOWN_MODEL', code: 5 });
  await expect(set(['0123456789ab', ''])).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  const unknown = world.aliases.setAliases({
    model: 'nope',
    targets: [{ alias: 'a', version: '' }],
    by: '',
    reason: '',
  });
  await expect(unknown).rejects.toMatchObject({ reason: 'UNKNOWN_MODEL' });
});

test('under load champion and challenger change places at once: no call fails, none sees both the same', async () => {
  const [v0 = '', v1 = ''] = world.versions;
  await set(['champion', v0], ['challenger', v1]);
  let going = true;
  const seen = new Set<string>();
  const callers = Array.from({ length: 4 }, async () => {
    while (going) seen.add((await answeredBy('score', 'champion')) === v0 ? 'v0' : 'v1');
  });
  await eventually(async () => seen.has('v0'));
  const startedMs = performance.now();
  await set(['champion', '@challenger'], ['challenger', '@champion']);
  expect(await answeredBy('score', 'champion')).toBe(v1);
  expect(await answeredBy('score', 'challenger')).toBe(v0);
  await eventually(async () => (await answeredBy('score', 'champion', world.otherOip)) === v1);
  expect(performance.now() - startedMs).toBeLessThan(1_000);
  going = false;
  await Promise.all(callers);
  expect(seen).toEqual(new Set(['v0', 'v1']));
});

test('a deployment follows an alias; rolled back in the command it goes back within a second, everywhere', async () => {
  const [v0 = '', v1 = '', v2 = ''] = world.versions;
  await world.apply(followed);
  await eventually(async () => (await predicted()) === v1);
  const moved = await world.millrace('set', 'score@champion', v2, '--reason', 'better');
  expect(moved.err).toBe('');
  expect(moved.out).toMatch(new RegExp(`score@champion.*${v2}.*${v1}`));
  expect(await predicted()).toBe(v2);
  const startedMs = performance.now();
  await world.aliases.rollbackAlias({ model: 'score', alias: 'champion', by: 'ada', reason: 'worse' });
  expect(await predicted()).toBe(v1);
  await eventually(async () => (await answeredBy('score@champion', '', world.otherOip)) === v1);
  expect(performance.now() - startedMs).toBeLessThan(1_000);
  const rolledBack = await world.millrace('rollback', 'score@champion');
  expect(rolledBack.out).toMatch(new RegExp(`score@champion.*${v0}`));
  expect(await predicted()).toBe(v0);
  const history = await world.millrace('history', 'score', '--alias', 'champion');
  expect(history.out).toMatch(new RegExp(`ada: rollback champion ${v2} → ${v1} \\(worse\\)`));
  const listed = (await world.millrace('list', 'score', '--json')).json<contract.ModelAliases[]>();
  expect(listed[0]?.aliases.map(({ alias, version }) => `${alias} ${version}`)).toEqual([
    `challenger ${v0}`,
    `champion ${v0}`,
  ]);
  const nothing = await world.millrace('rollback', 'score');
  expect(nothing.err).toMatch(/"score" names no alias; write <model>@<alias>/);
  const gone = await world.millrace('delete', 'score@challenger');
  expect(gone.out).not.toContain('challenger');
  await expect(answeredBy('score', 'challenger')).rejects.toMatchObject({ code: 5 });
});

test('each change is on the audit stream, once, with who, why and every move', async () => {
  const nats = await openNats(world.mesh.nats.url, { name: 'audit' });
  const audited: { action: string; by: string; reason: string; changedUs: number; moves: unknown[] }[] = [];
  const options = { stream: 'ROLLOUT_DECISIONS', fromSeq: 1, signal: AbortSignal.timeout(10_000) } as const;
  for await (const { data, subject, pending } of readStream(nats, options)) {
    if (subject === 'millrace.aliases.score') audited.push(JSON.parse(Buffer.from(data).toString()));
    if (pending === 0) break;
  }
  await nats.close();
  const { changes } = await world.aliases.getAliasHistory({ model: 'score', alias: '' });
  expect(audited.map(({ changedUs }) => BigInt(changedUs))).toEqual(changes.map(({ changedUs }) => changedUs));
  expect(audited.map(({ action }) => action)).toEqual(['set', 'set', 'set', 'rollback', 'rollback', 'delete']);
  const [v0 = '', v1 = ''] = world.versions;
  expect(audited[1]).toMatchObject({
    ...{ by: 'ada', reason: 'a test' },
    moves: [
      { alias: 'champion', from: v0, to: v1 },
      { alias: 'challenger', from: v1, to: v0 },
    ],
  });
});

test('a promotion moves the alias that the deployment follows, for good; a rollback of it moves it back', async () => {
  const [v0 = '', v1 = '', v2 = ''] = world.versions;
  await set(['champion', v0]);
  const client = connect(rollouts.RolloutServiceService, world.grpc, { defaultTimeoutMs: 20_000 });
  const champion = async () => {
    const { models } = await world.aliases.listAliases({ model: 'score' });
    return models[0]?.aliases.find(({ alias }) => alias === 'champion')?.version;
  };
  const control = async (action: string) =>
    (await client.controlRollout({ deployment: 'followed', action, by: 'ada', reason: 'seen' })).rollout;
  const start = (modelVersion: string) =>
    client.startRollout({ deployment: 'followed', model: 'score', modelVersion, plan: undefined, by: 'ada' });
  try {
    await start(v2);
    expect(await control('promote')).toMatchObject({ status: 'promoted', promotedAlias: 'champion', share: 1 });
    expect([await champion(), await predicted()]).toEqual([v2, v2]);
    await eventually(async () => (await answeredBy('score@champion', '', world.otherOip)) === v2);
    expect(await control('rollback')).toMatchObject({ status: 'rolled_back', promotedAlias: '' });
    expect([await champion(), await predicted()]).toEqual([v0, v0]);
    // the next one, after which the alias is free to go elsewhere
    await start(v2);
    await control('promote');
    await set(['champion', v1]);
    expect(await predicted()).toBe(v1);
    await control('rollback');
    expect([await champion(), await predicted()]).toEqual([v1, v1]);
    const { changes } = await world.aliases.getAliasHistory({ model: 'score', alias: 'champion' });
    expect(changes.some(({ reason }) => /rollout .* of deployment "followed": seen/.test(reason))).toBe(true);
  } finally {
    client.close();
  }
});
