import type { Level, SubmitOptions } from '@millrace/batching';
import type { RunOptions } from '../app/model-book.ts';
import { groupOf, stack, type Tensors, unstack } from '../domain/batch-tensors.ts';

/** How long a model that is unloaded may work on what waits for it. */
export const drainMs = 5_000;

/** How a request stands in its model's queue: one whose inputs do not begin with the same rows fills a batch. */
export function laneRequest(
  inputs: Tensors,
  outputs: readonly string[],
  rows: number | undefined,
  { priority, deadlineMs, signal }: RunOptions,
  rowsMax: number,
): SubmitOptions {
  return {
    rows: Math.max(1, rows ?? rowsMax),
    group: groupOf(inputs, outputs),
    level: levelOf(priority),
    deadlineMs,
    signal,
  };
}

/** 1 is the most urgent; none is 2. */
export function levelOf(priority: number | undefined): Level {
  if (priority === undefined || priority === 0) return 2;
  return priority <= 1 ? 1 : priority === 2 ? 2 : 3;
}

/** The inputs of a batch's requests, one below the other. */
export function inputsOf(items: readonly { readonly inputs: Tensors }[]): Tensors {
  const [only] = items;
  return items.length === 1 && only ? only.inputs : stack(items.map(({ inputs }) => inputs));
}

/** What each of a batch's requests is answered. */
export function outputsOf(model: string, outputs: Tensors, rowsByRequest: readonly number[]): Tensors[] {
  return rowsByRequest.length === 1 ? [outputs] : unstack(model, outputs, rowsByRequest);
}
