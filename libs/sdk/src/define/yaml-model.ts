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
