import { MeshError } from '@millrace/kernel';
import { checkInputs } from '../domain/check-inputs.ts';
import { checkGoldenAnswer, type GoldenRequest } from '../domain/golden.ts';
import type { LoadedModel, LoadRequest, ModelLoader } from './model-book.ts';
import type { RecentRequests } from './recent-requests.ts';

/** Golden requests that a version is warmed up with, beside those that its model was asked lately. */
const goldenWarmUpMax = 16;

/**
 * Loads a version and lets it serve once it has shown what it answers: it is warmed up with the golden file's requests and those that versions of the model were asked lately, then
 * asked all golden requests. A version that answers otherwise is released. GOLDEN_CHECK_FAILED, MODEL_LOAD_FAILED.
 */
export function createVersionLoader(deps: {
  readonly load: ModelLoader;
  readonly readGolden: (model: string, file: NonNullable<LoadRequest['golden']>) => Promise<readonly GoldenRequest[]>;
  readonly recent: RecentRequests;
}): ModelLoader {
  const { load, readGolden, recent } = deps;
  return async (request) => {
    const { name, golden } = request;
    const checks = golden ? await readGolden(name, golden) : [];
    const warmUp = [...checks.slice(0, goldenWarmUpMax).map(({ inputs }) => inputs), ...recent.of(name)];
    const loaded = await load({ ...request, warmUp });
    try {
      if (golden) await checkGolden(loaded, name, golden, checks);
    } catch (error) {
      await loaded.close();
      throw error;
    }
    return recent.wrap(loaded, name);
  };
}

/** One after another, behind what others wait for. */
async function checkGolden(
  loaded: LoadedModel,
  model: string,
  { uri, sha256 }: NonNullable<LoadRequest['golden']>,
  requests: readonly GoldenRequest[],
): Promise<void> {
  const names = new Set(loaded.outputs.map(({ name }) => name));
  for (const request of requests) {
    // what is asked for and is not there is told by the check
    const outputs = request.outputs.map(({ name }) => name).filter((name) => names.has(name));
    try {
      checkInputs(model, loaded.inputs, request.inputs);
      checkGoldenAnswer(model, uri, request, await loaded.run(request.inputs, outputs, { priority: 3 }));
    } catch (error) {
      throw goldenError(error, model, uri, sha256, request);
    }
  }
}

/** What the version answers is final; that it could not be asked now is not. */
function goldenError(thrown: unknown, model: string, uri: string, sha256: string, { label }: GoldenRequest): unknown {
  if (!(thrown instanceof MeshError)) return thrown;
  const { reason, code, message, metadata } = thrown;
  if (reason !== 'GOLDEN_CHECK_FAILED' && transientCodes.has(code)) return thrown;
  const told =
    reason === 'GOLDEN_CHECK_FAILED' ? message : `golden check of model "${model}": ${label} of "${uri}": ${message}`;
  const where = { ...metadata, model, uri, request: label, golden_sha256: sha256 };
  return new MeshError('GOLDEN_CHECK_FAILED', told, where, { cause: thrown });
}

/** CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNAVAILABLE: no place in the queue, or a server that cannot be reached. */
const transientCodes: ReadonlySet<number> = new Set([1, 4, 8, 14]);
