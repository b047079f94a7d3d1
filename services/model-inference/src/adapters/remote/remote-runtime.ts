import { type BatchReport, createDispatcher } from '@millrace/batching';
import type { definitions } from '@millrace/contracts';
import { MeshError, sleep } from '@millrace/kernel';
import { CountBreaker } from 'cockatiel';
import type { LoadedModel, LoadRequest, ModelLoader } from '../../app/model-book.ts';
import type { Tensors } from '../../domain/batch-tensors.ts';
import type { BatchingChoice } from '../../domain/batching-choice.ts';
import { checkOutputs } from '../../domain/check-outputs.ts';
import { remotePlace } from '../../domain/remote-uri.ts';
import type { TensorSpec } from '../../domain/tensor.ts';
import { createBreaker } from '../breaker.ts';
import { openTensorLane, type TensorBatch } from '../tensor-lane.ts';
import { type RemoteBackend, RemoteError, remoteSpec } from './backend.ts';
import { openOipGrpc } from './oip-grpc.ts';
import { openOipRest } from './oip-rest.ts';
import { followReady } from './readiness.ts';
import { createRetryBudget, retryWaitMs } from './retries.ts';
import { openTfServing } from './tf-serving.ts';

/** What asking a backend about a model may take. */
const describeMs = 5_000;
/** A backend is left alone when half of its last 20 calls have failed, of 5 at least. */
const failures = { threshold: 0.5, size: 20, minimumNumberOfCalls: 5 };
/** How long: at first, and at most. */
const openMs = 500;
const openMsMax = 5_000;
/** A call that was given less time than this says nothing of its backend when it is late. */
const patienceMs = 100;

export interface RemoteRuntimeOptions {
  /** Requests that wait for a model. */
  readonly queueMax: number;
  readonly messageBytesMax: number;
  readonly nowMs: () => number;
  readonly onEvent: (event: { readonly event: string; readonly [field: string]: string | number }) => void;
  readonly onBatch: (model: string, version: string, batch: BatchReport) => void;
}

/** Models that other servers serve. */
export function createRemoteRuntime(options: RemoteRuntimeOptions): { readonly load: ModelLoader } {
  return {
    async load(request) {
      const { name, uri } = request;
      const remote = request.remote ?? definitionsOfRemote;
      const backend = openBackend(uri, remote, options.messageBytesMax);
      try {
        const shape = await describe(backend, uri, remote);
        return createModel({ request, remote, backend, shape, options });
      } catch (cause) {
        backend.close();
        const why = cause instanceof Error ? cause.message : String(cause);
        throw new MeshError(
          'MODEL_LOAD_FAILED',
          `model "${name}" could not be loaded: ${why}`,
          { model: name, uri },
          { cause },
        );
      }
    },
  };
}

const definitionsOfRemote: definitions.RemoteModel = {
  timeoutUs: 0n,
  callsMax: 0,
  batchRowsMax: 0,
  retriesMax: undefined,
  signatureName: '',
  inputs: [],
  outputs: [],
};

function openBackend(uri: string, remote: definitions.RemoteModel, messageBytesMax: number): RemoteBackend {
  const place = remotePlace(uri);
  switch (place.protocol) {
    case 'oip-grpc':
      return openOipGrpc(place, uri, messageBytesMax);
    case 'oip-rest':
      return openOipRest(place, uri);
    case 'tf-serving':
      return openTfServing(place, uri, remote.signatureName);
    default:
      return place.protocol satisfies never;
  }
}

interface Shape {
  readonly platform: string;
  readonly versions: readonly string[];
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
}

/** What the definition declares, else what the backend says; either way it must be there. */
async function describe(backend: RemoteBackend, uri: string, remote: definitions.RemoteModel): Promise<Shape> {
  const call = { timeoutMs: describeMs, signal: AbortSignal.timeout(describeMs) };
  const said = await backend.describe(call);
  const declared = (tensors: readonly definitions.TensorDeclaration[]) =>
    tensors.map(({ name, datatype, shape }) => remoteSpec(uri, name, datatype, shape));
  const shape = {
    ...said,
    inputs: remote.inputs.length > 0 ? declared(remote.inputs) : said.inputs,
    outputs: remote.outputs.length > 0 ? declared(remote.outputs) : said.outputs,
  };
  for (const side of ['inputs', 'outputs'] as const)
    if (shape[side].length === 0)
      throw new Error(`backend ${uri} does not say what its ${side} are; declare them in remote.${side}`);
  const fixed = [...shape.inputs, ...shape.outputs].find((tensor) => tensor.shape[0] !== -1);
  if (remote.batchRowsMax > 0 && fixed)
    throw new Error(
      `"${fixed.name}" has shape [${fixed.shape}], which does not begin with rows, so requests cannot share a call; leave batching out`,
    );
  return shape;
}

interface Parts {
  readonly request: LoadRequest;
  readonly remote: definitions.RemoteModel;
  readonly backend: RemoteBackend;
  readonly shape: Shape;
  readonly options: RemoteRuntimeOptions;
}

function createModel(parts: Parts): LoadedModel {
  const { request, remote, backend, shape, options } = parts;
  const { name, uri, version } = request;
  const callsMax = remote.callsMax || 32;
  const batching = batchingOf(remote.batchRowsMax);
  const { call, refusal } = createCalls(parts);
  const readiness = followReady({
    ready: (asked) => backend.ready(asked),
    backend: uri,
    onChange: (isReady, why) =>
      options.onEvent({ event: isReady ? 'remote_model_ready' : 'remote_model_unready', model: name, why }),
  });
  const lane = openTensorLane({
    ...{ model: name, version, batching },
    where: `at backend ${uri}`,
    dispatcher: createDispatcher({ slots: callsMax, nowMs: options.nowMs }),
    slots: Array.from({ length: callsMax }, (_, slot) => slot),
    queueMax: options.queueMax,
    nowMs: options.nowMs,
    onBatch: options.onBatch,
    async run(_slot, batch) {
      const tensors = await call(batch);
      const given = [...tensors].map(([output, tensor]) => ({ name: output, ...tensor }));
      return checkOutputs(name, shape.outputs, batch.outputs, given, remote.batchRowsMax > 0 ? batch.rows : undefined);
    },
  });
  return {
    ...lane,
    inputs: shape.inputs,
    outputs: shape.outputs,
    facts: {
      irVersion: 0,
      opsets: {},
      producer: 'remote',
      producerVersion: '',
      metadata: { backend: uri, backend_platform: shape.platform, backend_versions: shape.versions.join(', ') },
      labels: {},
      changes: [],
      batching: batching.unsafe === undefined ? { t: 'safe' } : { t: 'unsafe', reason: batching.unsafe },
    },
    batching,
    unready: () => refusal() ?? readiness.problem(),
    async close() {
      readiness.stop();
      await lane.close();
      backend.close();
    },
  };
}

/** Calls of a backend: within the caller's time, through the breaker, and again when the backend could not take them. */
function createCalls({ request, remote, backend, shape, options }: Parts) {
  const limitMs = remote.timeoutUs === 0n ? 10_000 : Number(remote.timeoutUs) / 1_000;
  const retriesMax = remote.retriesMax ?? 2;
  const budget = createRetryBudget();
  const breaker = createBreaker({
    name: `model "${request.name}" at backend ${request.uri}`,
    breaker: new CountBreaker(failures),
    openMs,
    openMsMax,
    onChange: (state, why) => options.onEvent({ event: `remote_model_breaker_${state}`, model: request.name, why }),
  });
  const leftMs = ({ deadlineMs }: TensorBatch) =>
    deadlineMs === undefined ? limitMs : Math.min(limitMs, deadlineMs - options.nowMs());

  async function attempt(batch: TensorBatch): Promise<Tensors> {
    const startMs = performance.now();
    const timeoutMs = Math.max(1, leftMs(batch));
    const wanted = shape.outputs.filter(({ name }) => batch.outputs.includes(name));
    return breaker.run(
      () => backend.infer(batch.inputs, wanted, { timeoutMs, signal: batch.signal }),
      (error) => isBackendsFault(error, performance.now() - startMs),
    );
  }

  function isBackendsFault(error: unknown, tookMs: number): boolean {
    if (!(error instanceof RemoteError)) return false;
    if (error.isUnavailable) return true;
    // callers that leave before it has answered do not show that it is well
    return (
      (error.reason === 'DEADLINE_EXCEEDED' || error.reason === 'CANCELLED') &&
      (tookMs >= patienceMs || breaker.isTrying())
    );
  }

  return {
    refusal: breaker.refusal,
    async call(batch: TensorBatch): Promise<Tensors> {
      budget.called();
      for (let retry = 0; ; retry++) {
        try {
          return await attempt(batch);
        } catch (error) {
          const again =
            error instanceof RemoteError && error.isUnavailable && retry < retriesMax && !batch.signal.aborted;
          const waitMs = retryWaitMs(retry, Math.random);
          if (!again || waitMs >= leftMs(batch) || !budget.spend()) throw error;
          await sleep(waitMs, batch.signal);
        }
      }
    },
  };
}

function batchingOf(rowsMax: number): BatchingChoice {
  const cost = { fixedMs: 0, rowMs: 0 };
  if (rowsMax === 0) {
    const unsafe = 'its definition has no batching';
    return { rowsMax: 1, cost, unsafe, curve: [], why: `requests are not batched: ${unsafe}` };
  }
  return { rowsMax, cost, unsafe: undefined, curve: [], why: `at most ${rowsMax} rows: its definition says so` };
}
