import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { pathToFileURL } from 'node:url';
import type { oip } from '@millrace/contracts';
import type { MeshError } from '@millrace/kernel';
import { model } from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTfServing } from '../support/tf-serving.ts';
import { customDir, floats, logisticCustom, logisticOnnx, moody, texts, textsOf } from './custom-world.ts';
import { type OipWorld, oipDir, oipModel, oipModels, openOipWorld } from './oip-world.ts';

/** Models that another server serves: a second model-inference over gRPC and REST, and a stand-in for TensorFlow Serving. */
let backend: OipWorld;
let front: OipWorld;
let tf: Awaited<ReturnType<typeof startTfServing>>;

type Options = Partial<Parameters<typeof model>[1]>;
const remote = (name: string, uri: string, options: Options['remote'] = {}) =>
  model(name, { owner: 'tests', format: 'remote', uri, remote: options });
const grpcUri = (name: string) => `grpc://${backend.grpc}/${name}`;
const restUri = (name: string) => `http://${backend.http}/v2/models/${name}`;

beforeAll(async () => {
  [backend, front, tf] = await Promise.all([
    openOipWorld({ MILLRACE_MODEL_DIR: customDir }, []),
    openOipWorld({ MILLRACE_MODEL_DIR: customDir }, []),
    startTfServing(),
  ]);
  const file = (name: string) => {
    const { definition, ...rest } = oipModel(name, `${name}.onnx`);
    const uri = pathToFileURL(`${oipDir}/${name}.onnx`).href;
    const spec =
      definition.spec?.$case === 'model'
        ? { ...definition.spec, value: { ...definition.spec.value, uri } }
        : definition.spec;
    return { ...rest, definition: { ...definition, spec } };
  };
  await backend.apply(moody('moody'), logisticCustom('logistic'), ...oipModels.map(file));
  await backend.ready('moody', 'logistic', ...oipModels);
  await front.apply(
    logisticOnnx('local'),
    ...oipModels.flatMap((name) => [remote(`grpc-${name}`, grpcUri(name)), remote(`rest-${name}`, restUri(name))]),
    remote('far-moody', grpcUri('moody')),
    remote('rest-moody', restUri('moody')),
    remote('merged', grpcUri('logistic'), { batching: { rowsMax: 32 }, callsMax: 1 }),
    remote('half', `${tf.url}/v1/models/half_plus_two`),
    remote('lengths', `${tf.url}/v1/models/lengths/versions/123`),
  );
  await front.ready(
    'local',
    ...oipModels.flatMap((name) => [`grpc-${name}`, `rest-${name}`]),
    'far-moody',
    'rest-moody',
    'merged',
    'half',
    'lengths',
  );
}, 180_000);

afterAll(async () => {
  await Promise.all([front?.close(), backend?.close(), tf?.close()]);
});

const failureOf = (call: Promise<unknown>) =>
  call.then(
    () => expect.fail('it answered'),
    (error: MeshError) => error,
  );
const order = (name: string, ...orders: readonly string[]) => front.oip.modelInfer(texts(name, 'order', orders));

const widths: Readonly<Record<string, number>> = {
  BOOL: 1,
  INT8: 1,
  UINT8: 1,
  INT16: 2,
  UINT16: 2,
  FP16: 2,
  INT32: 4,
  UINT32: 4,
  FP32: 4,
  INT64: 8,
  UINT64: 8,
  FP64: 8,
};

/** A raw request of small values for whatever a model takes. */
async function rawRequest(world: OipWorld, name: string): Promise<oip.ModelInferRequest> {
  const { inputs } = await world.oip.modelMetadata({ name, version: '' });
  const sized = inputs.map((input) => ({ ...input, shape: input.shape.map((size) => (size < 0n ? 2n : size)) }));
  return {
    ...floats(name, 'x', [[0]]),
    inputs: sized.map(({ name: input, datatype, shape }) => ({
      name: input,
      datatype,
      shape,
      parameters: new Map(),
      contents: undefined,
    })),
    rawInputContents: sized.map(({ datatype, shape }) => {
      const elements = Number(shape.reduce((product, size) => product * size, 1n));
      if (datatype === 'BYTES')
        return Buffer.concat(Array.from({ length: elements }, (_, at) => Buffer.from([2, 0, 0, 0, 97 + at, 98])));
      return Buffer.alloc(elements * (widths[datatype] ?? 0), 1);
    }),
  };
}

test.each(oipModels.flatMap((name) => [`grpc-${name}`, `rest-${name}`]))(
  '%s says what its backend says, of every datatype, byte for byte',
  async (name) => {
    const far = name.slice('grpc-'.length);
    const [own, other] = await Promise.all([
      front.oip.modelMetadata({ name, version: '' }),
      backend.oip.modelMetadata({ name: far, version: '' }),
    ]);
    expect(own.inputs).toEqual(other.inputs);
    expect(own.outputs).toEqual(other.outputs);
    expect(own.platform).toBe('remote');
    const direct = await backend.oip.modelInfer(await rawRequest(backend, far));
    const relayed = await front.oip.modelInfer(await rawRequest(front, name));
    expect(relayed.outputs.map(({ name: output, shape, datatype }) => [output, shape, datatype])).toEqual(
      direct.outputs.map(({ name: output, shape, datatype }) => [output, shape, datatype]),
    );
    expect(relayed.rawOutputContents).toEqual(direct.rawOutputContents);
    expect(relayed.rawOutputContents.length).toBeGreaterThan(0);
  },
);

test('TensorFlow Serving’s REST contract: one output and several, strings, NaN, and what it says of itself', async () => {
  const half = await front.oip.modelInfer(floats('half', 'x', [[1], [5], [Number.NaN]]));
  expect(half.outputs[0]).toMatchObject({ name: 'y', datatype: 'FP32', shape: [3n, 1n] });
  expect(half.outputs[0]?.contents?.fp32Contents).toEqual([2.5, 4.5, Number.NaN]);
  const lengths = await front.oip.modelInfer(texts('lengths', 'text', ['a', 'grüße'], [1]));
  expect(lengths.outputs.map(({ name }) => name)).toEqual(['length', 'copy_bytes']);
  expect(lengths.outputs[0]?.contents?.int64Contents).toEqual([1n, 5n]);
  expect(textsOf(lengths, 1)).toEqual(['a', 'grüße']);
  const { inputs } = await front.oip.modelMetadata({ name: 'half', version: '' });
  expect(inputs).toMatchObject([{ name: 'x', datatype: 'FP32', shape: [-1n, 1n] }]);
});

test.each(['far-moody', 'rest-moody'])(
  'what fails at the backend of %s keeps its code, with the backend’s name',
  async (name) => {
    const failure = await failureOf(order(name, 'throw'));
    expect(failure.reason).toBe('MODEL_RUN_FAILED');
    expect(failure.message).toMatch(/^backend \S+moody: (HTTP 500: )?model "moody" failed: RangeError/);
    expect(textsOf(await order(name, 'ok'))).toEqual(['did ok']);
  },
);

test('requests share calls where the definition says so, and each has its own answer', async () => {
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, at) => front.oip.modelInfer(floats('merged', 'X', [[at / 10, 1]]))),
  );
  const direct = await backend.oip.modelInfer(
    floats(
      'logistic',
      'X',
      Array.from({ length: 40 }, (_, at) => [at / 10, 1]),
    ),
  );
  const wanted = direct.outputs[0]?.contents?.fp32Contents ?? [];
  expect(answers.flatMap((answer) => answer.outputs[0]?.contents?.fp32Contents ?? [])).toEqual(wanted);
  const { modelStats } = await backend.oip.modelStatistics({ name: 'logistic', version: '' });
  const [calls, rows] = [Number(modelStats[0]?.inferenceStats?.success?.count), Number(modelStats[0]?.inferenceCount)];
  expect(rows).toBe(80);
  expect(calls).toBeLessThan(30);
});

/** A server of OIP REST whose answers a test decides. */
async function fakeServer(onInfer: (response: ServerResponse, call: number) => void) {
  let calls = 0;
  const tensor = [{ name: 'x', datatype: 'FP32', shape: [-1, 1] }];
  const server = createServer((request, response) => {
    const json = (body: unknown) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    request.resume();
    if (request.url?.endsWith('/infer')) return onInfer(response, ++calls);
    if (request.url?.endsWith('/ready')) return response.writeHead(200).end();
    return json(
      request.url === '/v2'
        ? { extensions: [] }
        : { platform: 'fake', versions: ['1'], inputs: tensor, outputs: tensor },
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    uri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v2/models/fake`,
    calls: () => calls,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
const answerOf = (value: number) =>
  JSON.stringify({ outputs: [{ name: 'x', datatype: 'FP32', shape: [1, 1], data: [value] }] });

test('what a backend could not take is asked again, and nothing else is', async () => {
  const unwell = await fakeServer((response, call) =>
    call % 3 === 0 ? response.writeHead(200).end(answerOf(call)) : response.writeHead(503).end('{"error":"busy"}'),
  );
  const broken = await fakeServer((response) => response.writeHead(500).end('{"error":"it broke"}'));
  await front.apply(remote('unwell', unwell.uri), remote('broken', broken.uri));
  await front.ready('unwell', 'broken');
  const answer = await front.oip.modelInfer(floats('unwell', 'x', [[1]]));
  expect(answer.outputs[0]?.contents?.fp32Contents).toEqual([3]);
  expect(unwell.calls()).toBe(3);
  const failure = await failureOf(front.oip.modelInfer(floats('broken', 'x', [[1]])));
  expect(failure.reason).toBe('MODEL_RUN_FAILED');
  expect(failure.message).toContain('HTTP 500: it broke');
  expect(broken.calls()).toBe(1);
  unwell.close();
  broken.close();
});

test('a backend that is down is asked ever less: retries have a budget, and the breaker opens', async () => {
  const down = await fakeServer((response) => response.writeHead(503).end('{"error":"down"}'));
  await front.apply(remote('down', down.uri));
  await front.ready('down');
  const reasons: string[] = [];
  for (let call = 0; call < 50; call++)
    reasons.push((await failureOf(front.oip.modelInfer(floats('down', 'x', [[1]])))).reason);
  expect(reasons[0]).toBe('SERVICE_UNAVAILABLE');
  expect(reasons.at(-1)).toBe('MODEL_NOT_READY');
  expect(down.calls()).toBeLessThan(20);
  expect((await front.oip.modelReady({ name: 'down', version: '' })).ready).toBe(false);
  down.close();
});

test('an answer that is not as declared is the backend’s fault', async () => {
  const liar = await fakeServer((response, call) =>
    response
      .writeHead(200)
      .end(
        call === 1
          ? '<html>'
          : JSON.stringify({ outputs: [{ name: 'x', datatype: 'FP32', shape: [2, 2], data: [1, 2, 3, 4] }] }),
      ),
  );
  await front.apply(remote('liar', liar.uri));
  await front.ready('liar');
  expect((await failureOf(front.oip.modelInfer(floats('liar', 'x', [[1]])))).message).toContain(
    'its answer is not JSON: <html>',
  );
  expect((await failureOf(front.oip.modelInfer(floats('liar', 'x', [[1]])))).message).toContain(
    'has shape [2,2] and was declared as [-1,1]',
  );
  liar.close();
});

test('a caller that leaves is told to the backend', async () => {
  const left = Promise.withResolvers<void>();
  const slow = await fakeServer((response) => response.on('close', () => left.resolve()));
  await front.apply(remote('slow-far', slow.uri));
  await front.ready('slow-far');
  const leaving = new AbortController();
  const call = failureOf(front.oip.modelInfer(floats('slow-far', 'x', [[1]]), { signal: leaving.signal }));
  await eventually(() => slow.calls() === 1);
  leaving.abort();
  await call;
  await left.promise;
  slow.close();
});

test('a backend that hangs: callers hear in time, others are untouched, the breaker opens, and it is back when the backend is', async () => {
  process.kill(backend.service.pid, 'SIGSTOP');
  try {
    const took: number[] = [];
    const reasons: string[] = [];
    for (let call = 0; call < 8; call++) {
      const startMs = performance.now();
      const failure = await failureOf(front.oip.modelInfer(texts('far-moody', 'order', ['ok']), { timeoutMs: 300 }));
      took.push(performance.now() - startMs);
      reasons.push(failure.reason);
      await front.oip.modelInfer(floats('local', 'X', [[1, 2]]), { timeoutMs: 1_000 });
    }
    expect(reasons[0]).toBe('DEADLINE_EXCEEDED');
    expect(Math.max(...took)).toBeLessThan(600);
    const refused = await eventually(async () => {
      const failure = await failureOf(front.oip.modelInfer(texts('far-moody', 'order', ['ok']), { timeoutMs: 300 }));
      return failure.reason === 'MODEL_NOT_READY' && failure;
    });
    expect(refused.message).toContain(`at backend ${grpcUri('moody')} failed again and again`);
    console.log(`hang: told after ${took.map(Math.round).join(', ')} ms: ${reasons.join(', ')}`);
  } finally {
    process.kill(backend.service.pid, 'SIGCONT');
  }
  const backMs = performance.now();
  await eventually(async () => expect(textsOf(await order('far-moody', 'ok'))).toEqual(['did ok']), {
    timeoutMs: 15_000,
  });
  await front.ready('far-moody');
  console.log(`hang: answers ${Math.round(performance.now() - backMs)} ms after the backend goes on`);
});

test('a backend that is gone is unavailable at once, and answers again when it is started again', async () => {
  await backend.service.kill9();
  const startMs = performance.now();
  const failure = await failureOf(order('far-moody', 'ok'));
  expect(['SERVICE_UNAVAILABLE', 'MODEL_NOT_READY']).toContain(failure.reason);
  expect(performance.now() - startMs).toBeLessThan(2_000);
  await eventually(async () => (await front.oip.modelReady({ name: 'rest-moody', version: '' })).ready === false, {
    timeoutMs: 10_000,
  });
  await backend.service.restart();
  await backend.ready('moody');
  await eventually(async () => expect(textsOf(await order('far-moody', 'ok'))).toEqual(['did ok']), {
    timeoutMs: 15_000,
  });
  await front.ready('rest-moody');
});

test('one that is not there when it is loaded is served as soon as it is', async () => {
  const reasonOf = () =>
    front.oip.modelInfer(floats('later', 'X', [[1, 2]])).then(
      () => 'answered',
      (error: MeshError) => `${error.reason} ${error.message}`,
    );
  await front.apply(remote('later', grpcUri('later')));
  await eventually(async () =>
    expect(await reasonOf()).toMatch(
      /MODEL_LOAD_FAILED model "later" could not be loaded: backend grpc:\S+\/later: there is no model "later"/,
    ),
  );
  await backend.apply(logisticCustom('later'));
  await eventually(async () => expect(await reasonOf()).toBe('answered'), { timeoutMs: 20_000 });
});

test('a definition that leads nowhere is refused when it is applied', async () => {
  const said = (defined: ReturnType<typeof remote>) =>
    front.apply(defined).then(
      () => 'applied',
      (error: MeshError) => error.message,
    );
  expect(await said(remote('w', 'ftp://there/m'))).toContain('is no place of a remote model');
  expect(await said(remote('w', 'grpc://h:1/m', { retriesMax: 9 }))).toContain('9 is not from 0 to 5');
  expect(
    await said(remote('w', 'grpc://h:1/m', { inputs: [{ name: 'x', datatype: 'FLOAT' as never, shape: [1] }] })),
  ).toContain('"FLOAT" is no datatype');
});
