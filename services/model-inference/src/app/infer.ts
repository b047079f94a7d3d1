import { MeshError } from '@millrace/kernel';
import { checkInputs, checkRows } from '../domain/check-inputs.ts';
import { scheduled } from '../domain/schedule-policy.ts';
import type { Tensor } from '../domain/tensor.ts';
import type { ModelBook, RunOptions } from './model-book.ts';

export interface InferOutcome {
  readonly version: string;
  /** The model that answered, where the request named a deployment. */
  readonly routedTo?: string;
  readonly outputs: ReadonlyMap<string, Tensor>;
  /** What the answer says of itself. */
  readonly parameters?: ReadonlyMap<string, string>;
}

/** Runs a model on tensors. Outputs in the order asked for; all of the model's when none is. */
export type Infer = (
  model: string,
  version: string,
  inputs: ReadonlyMap<string, Tensor>,
  outputs: readonly string[],
  options?: RunOptions,
) => Promise<InferOutcome>;

export function createInfer({ book, nowMs }: { readonly book: ModelBook; readonly nowMs: () => number }): Infer {
  return async (name, version, inputs, wanted, options) => {
    const { loaded, version: served } = book.ready(name, version);
    checkInputs(name, loaded.inputs, inputs);
    if (loaded.plan) checkRows(name, loaded.plan.rowsMax, inputs);
    const names = loaded.outputs.map((output) => output.name);
    for (const output of wanted) {
      if (!names.includes(output))
        throw new MeshError(
          'INVALID_ARGUMENT',
          `model "${name}" has no output "${output}"; its outputs: ${names.join(', ')}`,
          { model: name, output },
        );
    }
    const outputs = wanted.length > 0 ? wanted : names;
    const results = await loaded.run(inputs, outputs, {
      ...options,
      ...scheduled(options ?? {}, loaded.plan?.schedule, nowMs()),
    });
    return {
      version: served,
      outputs: new Map(
        outputs.flatMap((output) => {
          const tensor = results.get(output);
          return tensor ? [[output, tensor] as const] : [];
        }),
      ),
    };
  };
}
