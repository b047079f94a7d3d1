import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Defined, type Model, model } from '@millrace/sdk';
import { serviceNames, startFullMesh } from '../../support/full-mesh.ts';
import { pin } from '../serving-load.ts';

/** The model server on the first core, with its workers; the other services on the second. */
export type ModelServer = {
  readonly grpc: string;
  readonly http: string;
  readonly pid: number;
  /** Of a model that it serves. */
  file(model: string): string;
  /** For files; removed at the end. */
  readonly dir: string;
  /** Writes a model's file; `put` registers it then, or another version of it. */
  prepare(name: string, bytes: Uint8Array): Prepared;
  put(prepared: Prepared, more?: Partial<Parameters<typeof model>[1]>): Promise<Model>;
  apply(...defined: readonly Defined[]): Promise<unknown>;
  /** Takes a model out of the registry. */
  remove(name: string): Promise<void>;
};

/** A file in the model repository. */
export type Prepared = ReturnType<typeof write>;

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
  let puts = 0;
  const definitions = Object.entries(models).map(([name, given]) => {
    const written = write(modelDir, name, `${name}.onnx`, typeof given === 'string' ? readFileSync(given) : given);
    return model(name, written.options);
  });
  const mesh = await startFullMesh({ modelDir, env });
  try {
    await mesh.apply(...definitions);
    const { grpc, http, pid } = mesh.service('model-inference');
    for (const name of serviceNames) pin(mesh.service(name).pid, name === 'model-inference' ? 0 : 1);
    return await use({
      grpc,
      http,
      pid,
      file,
      dir,
      prepare: (name, bytes) => write(join(mesh.dir, 'models'), name, `${name}-${puts++}.onnx`, bytes),
      async put({ name, options }, more = {}) {
        const defined = model(name, { ...options, ...more });
        await mesh.apply(defined);
        return defined;
      },
      apply: mesh.apply,
      async remove(name) {
        await mesh.clients.registry.apply({ definitions: [], removals: [`model/${name}`], allowBreaking: false });
      },
    });
  } finally {
    await mesh.close();
    rmSync(dir, { recursive: true, force: true });
  }
}

function write(folder: string, name: string, uri: string, bytes: Uint8Array) {
  writeFileSync(join(folder, uri), bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { name, options: { owner: 'bench', uri, sha256 } };
}
