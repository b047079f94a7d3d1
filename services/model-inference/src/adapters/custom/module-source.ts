import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { z } from 'zod';
import type { LoadRequest } from '../../app/model-book.ts';
import { isDatatype, type TensorSpec } from '../../domain/tensor.ts';
import { checkDigest } from '../model-file.ts';
import { modelPath } from '../model-path.ts';
import type { ModuleSource } from './messages.ts';

/** A module and its files together are held in memory, once here and once in each process. */
const bytesMax = 512 * 2 ** 20;

/** Reads the module and its files. MODEL_LOAD_FAILED when one is missing, or not the one that was registered. */
export async function readModuleSource(request: LoadRequest, modelDir: string): Promise<ModuleSource> {
  const { name, uri, sha256, custom } = request;
  const files: Record<string, Uint8Array> = {};
  const bytes = await readRegistered(name, { uri, sha256 }, modelDir);
  let total = bytes.length;
  for (const file of custom?.files ?? []) {
    const content = await readRegistered(name, file, modelDir);
    total += content.length;
    files[file.name] = content;
  }
  if (total > bytesMax)
    throw new MeshError(
      'MODEL_LOAD_FAILED',
      `model "${name}": its module and files have ${total} bytes, over the limit of ${bytesMax}; keep large data elsewhere`,
      { model: name, bytes: total, limit: bytesMax },
    );
  const library = await readFile(fileURLToPath(import.meta.resolve('@millrace/custom-model')));
  return { model: name, uri, bytes, parameters: Object.fromEntries(custom?.parameters ?? []), files, library };
}

async function readRegistered(
  model: string,
  { uri, sha256 }: definitions.ModelFile,
  modelDir: string,
): Promise<Uint8Array> {
  const bytes = await readFile(modelPath(modelDir, uri)).catch((cause) => {
    throw new MeshError(
      'MODEL_LOAD_FAILED',
      `model "${model}": no file "${uri}" in the model repository "${modelDir}"`,
      { model, uri },
      { cause },
    );
  });
  checkDigest(bytes, { uri, sha256, model });
  return bytes;
}

const tensors = z
  .array(
    z.object({
      name: z.string().min(1).max(200),
      datatype: z.custom<TensorSpec['datatype']>((given) => typeof given === 'string' && isDatatype(given), {
        error: 'is no datatype; use BOOL, UINT8 … UINT64, INT8 … INT64, FP16, FP32, FP64 or BYTES',
      }),
      shape: z
        .array(
          z
            .int()
            .min(-1)
            .max(2 ** 31 - 1),
        )
        .max(16),
    }),
  )
  .min(1)
  .max(256)
  .refine((given) => new Set(given.map(({ name }) => name)).size === given.length, { error: 'two have one name' });

const signatureSchema = z
  .object({
    inputs: tensors,
    outputs: tensors,
    batching: z.object({ rowsMax: z.int().min(1).max(100_000) }).optional(),
  })
  .refine(
    ({ inputs, outputs, batching }) => !batching || [...inputs, ...outputs].every(({ shape }) => shape[0] === -1),
    { error: 'batching needs inputs and outputs that begin with −1, the rows' },
  );

export type ReadSignature = z.infer<typeof signatureSchema>;

/** MODEL_LOAD_FAILED says where the module's signature is wrong. */
export function readSignature(model: string, uri: string, given: unknown): ReadSignature {
  const read = signatureSchema.safeParse(given);
  if (read.success) return read.data;
  const problems = read.error.issues.map(({ path, message }) => `${['signature', ...path].join('.')}: ${message}`);
  throw new MeshError(
    'MODEL_LOAD_FAILED',
    `model "${model}": the signature of "${uri}" is wrong: ${problems.join('; ')}`,
    {
      model,
      uri,
    },
  );
}
