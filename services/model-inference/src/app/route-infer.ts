import type { definitions } from '@millrace/contracts';
import { newId } from '@millrace/kernel';
import { checkInputs } from '../domain/check-inputs.ts';
import { bytesOf } from '../domain/row-tensors.ts';
import type { Tensor } from '../domain/tensor.ts';
import { assignerOf, type PickedTarget } from './assign.ts';
import type { Expose } from './exposures.ts';
import type { Infer, InferOutcome } from './infer.ts';
import type { BookedModel, ModelBook } from './model-book.ts';
import { type CallRoute, isServerFault } from './rollouts.ts';
import { shadowCall } from './shadow-call.ts';
import type { ShadowQueue } from './shadow-queue.ts';

/** Metadata or a header that says whom or what a request is for. */
const unitHeader = 'millrace-unit';

/** Of a request that names no version: who or what it is for. */
export interface InferUnit {
  /** Of a parameter `unit`; */
  readonly parameter: string | undefined;
  /** metadata or headers, of which `millrace-unit` says it; */
  headers(): ReadonlyMap<string, string>;
  /** the request's id. */
  readonly id: string;
}

/** Where a request of the Open Inference Protocol goes. */
export interface RoutedInfer extends PickedTarget {
  /** Whether a deployment decided; then the answer says which model it was. */
  readonly isRouted: boolean;
  /** Whether the inputs are needed once more after the answer. */
  readonly isShadowed: boolean;
  /** What became of it, for a rollout. */
  answered(outcome: InferOutcome, ms: number): void;
  /** Sends them to the shadow; the answer is out of the way by then. */
  shadow(inputs: ReadonlyMap<string, Tensor>, outcome: InferOutcome, ms: number): void;
  failed(thrown: unknown, inputs: ReadonlyMap<string, Tensor> | undefined): void;
}

export type RouteInfer = (
  model: string,
  version: string,
  unit: InferUnit,
  parameters: ReadonlyMap<string, unknown>,
) => RoutedInfer;

/** The first of what says it; a request that says nothing is a unit of its own. */
export function unitText({ parameter, headers, id }: InferUnit): string {
  return parameter || headers().get(unitHeader) || id || newId();
}

/**
 * A request that names a deployment and no version goes as a prediction of its unit would: by the rollout and the weights. Any other goes to
 * the model that it names.
 */
export function createRouteInfer(deps: {
  readonly book: ModelBook;
  readonly deployment: (name: string) => definitions.Deployment | undefined;
  readonly rollout: (deployment: string) => CallRoute | undefined;
  readonly expose: Expose;
  readonly infer: Infer;
  readonly queue: ShadowQueue;
}): RouteInfer {
  const { book } = deps;
  return (name, version, unit, parameters) => {
    const deployment = version === '' ? deps.deployment(name) : undefined;
    if (!deployment) return { model: name, version, ...unrouted };
    const request = () => ({
      headers: unit.headers(),
      keys: new Map(),
      data: new Map(),
      parameters,
      predictionKey: '',
    });
    const picked = assignerOf(name, deployment, deps.rollout(name), book).assign(request, () => unitText(unit));
    const { route } = picked;
    const model = book.ready(picked.model, picked.version);
    deps.expose(name, picked, model);
    const { version: pickedVersion } = model;
    const own = deployment.targets[0];
    const shadow = readyOf(book, route?.shadowOf(picked.unit));
    const isShadowed = shadow !== undefined && !(shadow.name === picked.model && shadow.version === pickedVersion);
    return {
      model: picked.model,
      version: pickedVersion,
      isRouted: true,
      isShadowed,
      shadow(inputs, outcome, ms) {
        const scores = scoresOf(model, outcome);
        if (!isShadowed || !route || scores.length === 0) return;
        shadowCall(route, deps.queue, { scores, ms }, bytesOf(inputs), async (caller) => {
          const { outputName } = shadow.spec;
          return scoresOf(shadow, await deps.infer(shadow.name, shadow.version, inputs, [outputName], caller));
        });
      },
      answered(outcome, ms) {
        route?.served(picked.model, pickedVersion, { t: 'answered', ms, scores: scoresOf(model, outcome) });
      },
      failed(thrown, inputs) {
        const isFault = isServerFault(thrown) || (own && inputs && isTakenBy(book, own, inputs));
        if (isFault) route?.served(picked.model, pickedVersion, { t: 'failed' });
      },
    };
  };
}

function nothing(): void {}

const unrouted = { isRouted: false, isShadowed: false, answered: nothing, shadow: nothing, failed: nothing };

function readyOf(book: ModelBook, target: PickedTarget | undefined): BookedModel | undefined {
  const model = target && book.find(target.model, target.version);
  return model?.state.t === 'ready' ? model : undefined;
}

/** What a candidate refuses and the deployment's own model takes is the candidate's fault. */
function isTakenBy(
  book: ModelBook,
  { model, modelVersion }: definitions.DeploymentTarget,
  inputs: ReadonlyMap<string, Tensor>,
): boolean {
  const own = book.find(model, modelVersion);
  if (own?.state.t !== 'ready') return false;
  try {
    checkInputs(model, own.state.loaded.inputs, inputs);
    return true;
  } catch {
    return false;
  }
}

/** The output that predictions take, where it was asked for. */
function scoresOf({ spec }: BookedModel, { outputs }: InferOutcome): readonly number[] {
  const { outputName, outputColumn } = spec;
  const output = outputs.get(outputName);
  if (!output || output.datatype === 'BYTES') return [];
  const width = output.shape.length === 2 ? (output.shape[1] ?? 1) : 1;
  const rows = width > outputColumn ? output.data.length / width : 0;
  return Array.from({ length: rows }, (_, row) => Number(output.data[row * width + outputColumn]));
}
