import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { MeshError } from '@millrace/kernel';
import { type ModelProfile, parseProfile } from '@millrace/stats';
import { modelPath } from './model-path.ts';

/** The training profile that was registered with a model. MODEL_LOAD_FAILED when it is not there or not the one; INVALID_ARGUMENT when it is none. */
export async function readProfile(
  modelDir: string,
  model: string,
  { uri, sha256 }: { readonly uri: string; readonly sha256: string },
): Promise<ModelProfile> {
  const bytes = await readFile(modelPath(modelDir, uri)).catch((cause) => {
    throw new MeshError(
      'MODEL_LOAD_FAILED',
      `model "${model}": no profile "${uri}" in the model repository`,
      { model, uri },
      { cause },
    );
  });
  const digest = createHash('sha256').update(bytes).digest('hex');
  if (digest !== sha256)
    throw new MeshError(
      'MODEL_LOAD_FAILED',
      `model "${model}": profile "${uri}" has SHA-256 ${digest}, not ${sha256} as registered; apply the definition again or restore the file`,
      { model, uri, expected: sha256, found: digest },
    );
  return parseProfile(bytes.toString('utf8'), uri);
}
