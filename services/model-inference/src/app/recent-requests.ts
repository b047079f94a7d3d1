import type { Tensors } from '../domain/batch-tensors.ts';
import { bytesOf, copied } from '../domain/row-tensors.ts';
import type { LoadedModel } from './model-book.ts';

/** Requests that are kept of a model: the first ones, then one of so many in place of the oldest. */
const keptMax = 16;
const sampleEvery = 64;
/** A larger request is not kept. */
const requestBytesMax = 65_536;

export interface RecentRequests {
  /** The model with some of what it is asked kept. */
  wrap(model: LoadedModel, name: string): LoadedModel;
  /** Inputs that versions of the model were asked with, latest first. */
  of(name: string): readonly Tensors[];
}

/**
 * Some of the latest requests of each model, which its next version is warmed up with.
 *
 * @param modelsMax the model that has kept nothing new for longest is forgotten first
 */
export function createRecentRequests({ modelsMax }: { readonly modelsMax: number }): RecentRequests {
  const byModel = new Map<string, Tensors[]>();

  function keep(name: string, inputs: Tensors): void {
    if (bytesOf(inputs) > requestBytesMax) return;
    const requests = byModel.get(name) ?? [];
    // what is run may change hands
    requests.unshift(copied(inputs));
    if (requests.length > keptMax) requests.pop();
    byModel.delete(name);
    byModel.set(name, requests);
    const [oldest] = byModel.keys();
    if (byModel.size > modelsMax && oldest !== undefined) byModel.delete(oldest);
  }

  return {
    wrap(model, name) {
      let seen = 0;
      return {
        ...model,
        run(inputs, outputs, options) {
          if (seen < keptMax || seen % sampleEvery === 0) keep(name, inputs);
          seen++;
          return model.run(inputs, outputs, options);
        },
      };
    },
    of: (name) => byModel.get(name) ?? [],
  };
}
