import { MeshError } from '@millrace/kernel';

/** The file is no ONNX model, or a damaged one. */
export function damaged(detail: string): MeshError {
  return new MeshError('MODEL_LOAD_FAILED', `the ONNX file is damaged: ${detail}; export or copy it again`, { detail });
}

/** The file is one that this server does not serve. */
export function unsupported(detail: string, remedy: string): MeshError {
  return new MeshError('MODEL_LOAD_FAILED', `the ONNX model ${detail}; ${remedy}`, { detail });
}
