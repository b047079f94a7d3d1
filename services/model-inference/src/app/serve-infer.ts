import { MeshError } from '@millrace/kernel';
import { explainAsk, explanationTensors } from '../domain/explain-parameters.ts';
import type { ExplainAsk } from '../domain/explanation.ts';
import type { Tensor } from '../domain/tensor.ts';
import type { Explain } from './explain.ts';
import type { Infer, InferOutcome } from './infer.ts';
import type { ModelBook, RunOptions } from './model-book.ts';
import type { InferUnit, RouteInfer } from './route-infer.ts';
import type { Protocol, VersionMeters } from './version-meters.ts';

/** One request of the Open Inference Protocol, of whichever wire. */
export interface InferCall {
  readonly protocol: Protocol;
  readonly model: string;
  readonly version: string;
  readonly unit: InferUnit;
  readonly outputs: readonly string[];
  /** Values: numbers, bigints, text, booleans. */
  readonly parameters: ReadonlyMap<string, unknown>;
  readonly options: RunOptions;
  decode(): ReadonlyMap<string, Tensor>;
}

/** Routes, decodes, infers and encodes, and counts how long each took. */
export type ServeInfer = <Answer>(call: InferCall, encode: (outcome: InferOutcome) => Answer) => Promise<Answer>;

/** What can be told of a request without decoding it. */
export interface InferGlance {
  readonly model: string;
  readonly version: string;
  readonly options: Pick<RunOptions, 'deadlineMs' | 'priority'>;
}

export interface InferStatistics {
  readonly serve: ServeInfer;
  /** Why the request would be refused for want of time; it counts as failed. */
  refusal(glance: InferGlance): MeshError | undefined;
}

export function createServeInfer(deps: {
  readonly book: ModelBook;
  readonly infer: Infer;
  readonly route: RouteInfer;
  readonly explain: Explain;
  /** Whether a deployment decides where the request goes. */
  readonly isRouted: (model: string, version: string) => boolean;
  readonly onRefused: (model: string) => void;
  readonly meters: VersionMeters;
}): InferStatistics {
  return {
    async serve(call, encode) {
      const startedMs = performance.now();
      const to = deps.route(call.model, call.version, call.unit, call.parameters);
      const { name, version } = deps.book.ready(to.model, to.version);
      let inputs: ReadonlyMap<string, Tensor> | undefined;
      try {
        refuseUnsupported(call.parameters);
        const ask = explainAsk(call.parameters);
        inputs = call.decode();
        const decodedMs = performance.now();
        const outcome = await deps.infer(to.model, to.version, inputs, call.outputs, {
          ...call.options,
          // a shadow, or what explains the answer, reads them once more
          ownsInputs: call.options.ownsInputs === true && !to.isShadowed && ask === undefined,
        });
        const inferredMs = performance.now();
        to.answered(outcome, inferredMs - startedMs);
        const told = ask
          ? await explained(deps, { name, version: outcome.version }, outcome, inputs, ask, call)
          : outcome;
        const explainedMs = performance.now();
        const answer = encode(to.isRouted ? { ...told, routedTo: name } : told);
        const endedMs = performance.now();
        deps.meters
          .of(name, version)
          .succeeded(call.protocol, endedMs - startedMs, decodedMs - startedMs, endedMs - explainedMs);
        to.shadow(inputs, outcome, inferredMs - decodedMs);
        return answer;
      } catch (error) {
        to.failed(error, inputs);
        deps.meters.of(name, version).failed(error, performance.now() - startedMs);
        throw error;
      }
    },
    refusal({ model, version, options }) {
      // its rollout is told what becomes of it
      if (deps.isRouted(model, version)) return undefined;
      const booked = deps.book.find(model, version);
      const refused = booked?.state.t === 'ready' ? booked.state.loaded.refusal?.(options) : undefined;
      if (!booked || !refused) return undefined;
      deps.meters.of(booked.name, booked.version).failed(refused);
      deps.onRefused(booked.name);
      return refused;
    },
  };
}

/** The answer, and what it comes of by the same version. */
async function explained(
  { book, explain }: { readonly book: ModelBook; readonly explain: Explain },
  model: { readonly name: string; readonly version: string },
  outcome: InferOutcome,
  inputs: ReadonlyMap<string, Tensor>,
  ask: ExplainAsk,
  { options }: InferCall,
): Promise<InferOutcome> {
  const explanation = await explain.tensors(book.ready(model.name, model.version), inputs, ask, options);
  const { method, note, output, pairs } = explanation;
  return {
    ...outcome,
    outputs: new Map([...outcome.outputs, ...explanationTensors(explanation)]),
    parameters: new Map([
      ['explanation_method', method],
      ['explanation_output', output],
      ...(note === '' ? [] : [['explanation_note', note] as const]),
      ...(pairs === 0 ? [] : [['explanation_pairs', String(pairs)] as const]),
    ]),
  };
}

/** Parameters that change what an answer means and that are not served; others are for those who know them. */
const unsupported: Readonly<Record<string, string>> = {
  shared_memory_region: 'send the tensor in the request',
  classification: 'rank the scores yourself',
};

/** UNSUPPORTED names the parameter and what to do instead. */
export function refuseUnsupported(parameters: ReadonlyMap<string, unknown>): void {
  for (const name of parameters.keys()) {
    if (Object.hasOwn(unsupported, name))
      throw new MeshError('UNSUPPORTED', `parameter "${name}" is not supported; ${unsupported[name]}`, {
        parameter: name,
      });
  }
}
