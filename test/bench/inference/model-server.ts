import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { model } from '@millrace/sdk';
import { startFullMesh } from '../../support/full-mesh.ts';
import { pin } from '../serving-load.ts';

/** The model server on the first core, with its workers. */
export type ModelServer = {
  readonly grpc: string;
  readonly http: string;
  readonly pid: number;
  /** Of a model that it serves. */
  file(model: string): string;
  /** For files; removed at the end. */
  readonly dir: string;
};

/** Ours with ONNX models by name, paths or bytes; `env` beside its own. */
export async function withModelServer<R>(
  models: Readonly<Record<string, string | Uint8Array>>,
  use: (server: ModelServer) => Promise<R>,
  env: Readonly<Record<string, string>> = {},
): Promise<R> {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-bench-'));
  const modelDir = join(dir, 'models');
  mkdirSync(modelDir);
  const file = (name: string) => join(modelDir, `${name}.onnx`);
  const definitions = Object.entries(models).map(([name, given]) => {
    const bytes = typeof given === 'string' ? readFileSync(given) : given;
    writeFileSync(file(name), bytes);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    return model(name, { owner: 'bench', uri: `${name}.onnx`, sha256 });
  });
  const mesh = await startFullMesh({ modelDir, env });
  try {
    await mesh.apply(...definitions);
    const { grpc, http, pid } = mesh.service('model-inference');
    pin(pid, 0);
    return await use({ grpc, http, pid, file, dir });
  } finally {
    await mesh.close();
    rmSync(dir, { recursive: true, force: true });
  }
}
