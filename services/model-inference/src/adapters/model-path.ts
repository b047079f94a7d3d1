import { isAbsolute, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { MeshError } from '@millrace/kernel';

/** Where a registered file is. INVALID_ARGUMENT when it would be out of the model repository. */
export function modelPath(modelDir: string, uri: string): string {
  if (uri.startsWith('file:')) return fileURLToPath(uri);
  const relative = normalize(uri);
  if (isAbsolute(relative) || relative.startsWith('..'))
    throw new MeshError('INVALID_ARGUMENT', `"${uri}" leads out of the model repository`, { uri });
  return join(modelDir, relative);
}
