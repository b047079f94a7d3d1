import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { oip, registry } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { type Defined, model } from '@millrace/sdk';
import { createTestMesh, eventually } from '@millrace/testkit';

/** The models of test/fixtures/oip, registered, in a model server without features. No file here is a test. */
export const oipDir = join(import.meta.dirname, '..', 'fixtures', 'oip');
export const oipModels = ['every-type', 'half', 'identity', 'text', 'wide'] as const;

export type OipWorld = Awaited<ReturnType<typeof openOipWorld>>;

export async function openOipWorld(
  env: Readonly<Record<string, string>> = {},
  served: readonly string[] = oipModels,
  stores: Parameters<typeof createTestMesh>[0]['stores'] = ['nats'],
) {
  const mesh = await createTestMesh({ stores });
  try {
    const governance = await mesh.service('governance');
    const repository = join(mesh.dir, 'model-repository');
    mkdirSync(repository);
    const whole = {
      MILLRACE_MODEL_DIR: oipDir,
      // nothing is in it but what comes with loads
      MILLRACE_MODEL_REPOSITORY: repository,
      MILLRACE_ONLINE_SERVING_ADDRESS: '127.0.0.1:1',
      ...env,
    };
    const service = await mesh.service('model-inference', whole);
    const timeout = { defaultTimeoutMs: 20_000 };
    const definitions = connect(registry.RegistryServiceService, governance.grpc, timeout);
    const client = connect(oip.GRPCInferenceServiceService, service.grpc, timeout);
    const apply = (...defined: readonly Defined[]) =>
      definitions.apply({
        definitions: defined.map(({ definition }) => definition),
        removals: [],
        allowBreaking: false,
      });
    if (served.length > 0) await apply(...served.map((name) => oipModel(name, `${name}.onnx`)));
    const isReady = (name: string) =>
      client.modelReady({ name, version: '' }).then(
        ({ ready }) => ready,
        () => false,
      );
    const ready = (...names: readonly string[]) =>
      eventually(async () => (await Promise.all(names.map(isReady))).every(Boolean), { timeoutMs: 30_000 });
    await ready(...served);
    return {
      grpc: service.grpc,
      http: service.http,
      oip: client,
      registry: definitions,
      dir: mesh.dir,
      mesh,
      service,
      governance,
      env: whole,
      apply,
      ready,
      async close() {
        client.close();
        definitions.close();
        await mesh.close();
      },
    };
  } catch (error) {
    await mesh.close();
    throw error;
  }
}

export function oipModel(name: string, file: string) {
  const sha256 = createHash('sha256')
    .update(readFileSync(join(oipDir, file)))
    .digest('hex');
  return model(name, { owner: 'tests', uri: file, sha256 });
}

export const scoreColumns = ['a', 'b', 'c', 'd'].map((request) => ({ request }));

/** Its score is what it is asked in one of `scoreColumns`: it says which model, or version, answered. */
export function scoreModel(name: string, column: number) {
  const { definition } = oipModel(name, 'identity.onnx');
  if (definition.spec?.$case !== 'model') throw new Error(`definition "${name}" is no model`);
  const { uri, sha256 } = definition.spec.value;
  const [input, output] = [
    { name: 'IN', columns: scoreColumns },
    { name: 'OUT', column },
  ];
  return model(name, { owner: 'tests', uri, sha256, input, output });
}
