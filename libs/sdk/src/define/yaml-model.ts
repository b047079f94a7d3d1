import type { definitions } from '@millrace/contracts';
import { z } from 'zod';
import { duration } from './yaml-parts.ts';

export const modelFile = z.strictObject({ uri: z.string(), sha256: z.string() });

/** How a custom model is run. */
export const customModel = z.strictObject({
  memory_mib: z.int().optional(),
  load_timeout: duration.optional(),
  predict_timeout: duration.optional(),
  processes: z.int().optional(),
  parameters: z.record(z.string(), z.string()).optional(),
  files: z.record(z.string(), modelFile).optional(),
});

export function customSpec(given: z.infer<typeof customModel>): definitions.CustomModel {
  return {
    memoryMib: given.memory_mib ?? 0,
    loadTimeoutUs: given.load_timeout ?? 0n,
    predictTimeoutUs: given.predict_timeout ?? 0n,
    processes: given.processes ?? 0,
    parameters: new Map(Object.entries(given.parameters ?? {})),
    files: Object.entries(given.files ?? {}).map(([name, file]) => ({ name, ...file })),
  };
}

const tensor = z.strictObject({ name: z.string(), datatype: z.string(), shape: z.array(z.int()) });

/** How a remote model is called. */
export const remoteModel = z.strictObject({
  timeout: duration.optional(),
  calls_max: z.int().optional(),
  batching: z.strictObject({ rows_max: z.int() }).optional(),
  retries_max: z.int().optional(),
  signature_name: z.string().optional(),
  inputs: z.array(tensor).optional(),
  outputs: z.array(tensor).optional(),
});

export function remoteSpec(given: z.infer<typeof remoteModel>): definitions.RemoteModel {
  const declared = (tensors: readonly z.infer<typeof tensor>[] = []) =>
    tensors.map(({ shape, ...rest }) => ({ ...rest, shape: shape.map(BigInt) }));
  return {
    timeoutUs: given.timeout ?? 0n,
    callsMax: given.calls_max ?? 0,
    batchRowsMax: given.batching?.rows_max ?? 0,
    retriesMax: given.retries_max,
    signatureName: given.signature_name ?? '',
    inputs: declared(given.inputs),
    outputs: declared(given.outputs),
  };
}
