import { MeshError } from '@millrace/kernel';

/** The file is no tree ensemble that can be read. */
export function damaged(format: string, detail: string): MeshError {
  return new MeshError('MODEL_LOAD_FAILED', `the ${format} file is damaged: ${detail}; save or copy it again`, {
    format,
    detail,
  });
}

/** The trees are of a kind that has no exact attributions here. */
export function unsupported(format: string, detail: string, remedy: string): MeshError {
  return new MeshError('UNSUPPORTED', `the ${format} model ${detail}; ${remedy}`, { format, detail });
}

export const sampleInstead = 'sampled Shapley values explain it';
