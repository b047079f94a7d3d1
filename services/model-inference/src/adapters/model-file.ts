import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { MeshError } from '@millrace/kernel';

/** The bytes of a registered file, in a worker. MODEL_LOAD_FAILED when they are not there, or not those that were registered. */
export function readModelFile(file: {
  readonly path: string;
  readonly uri: string;
  readonly sha256: string;
  readonly model: string;
}): Buffer {
  const { path, uri, sha256, model } = file;
  const bytes = read(path, uri, model);
  checkDigest(bytes, { uri, sha256, model });
  return bytes;
}

/** MODEL_LOAD_FAILED when the bytes are not those that were registered. */
export function checkDigest(
  bytes: Uint8Array,
  { uri, sha256, model }: { readonly uri: string; readonly sha256: string; readonly model: string },
): void {
  const digest = createHash('sha256').update(bytes).digest('hex');
  if (digest === sha256) return;
  throw new MeshError(
    'MODEL_LOAD_FAILED',
    `model "${model}": file "${uri}" has SHA-256 ${digest}, not ${sha256} as registered; apply the definition again or restore the file`,
    { model, uri, expected: sha256, found: digest },
  );
}

function read(path: string, uri: string, model: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new MeshError(
      'MODEL_LOAD_FAILED',
      `model "${model}": no file "${uri}" in the model repository`,
      { model, uri },
      { cause },
    );
  }
}
