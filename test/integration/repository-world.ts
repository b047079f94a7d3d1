import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { oip } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { eventually, spawnService } from '@millrace/testkit';
import { oipDir } from './oip-world.ts';

/** A model server of a model repository alone: no registry, no stores. No file here is a test. */
export type RepositoryWorld = Awaited<ReturnType<typeof openRepositoryWorld>>;

export const identityBytes = readFileSync(join(oipDir, 'identity.onnx'));
/** The same model with another digest: its producer says so. */
export const otherBytes = (producer: string) =>
  Buffer.concat([identityBytes, Buffer.of(0x12, producer.length), Buffer.from(producer)]);

export async function openRepositoryWorld(
  files: Readonly<Record<string, string | Uint8Array>>,
  env: Readonly<Record<string, string>> = {},
) {
  const dir = mkdtempSync(join(tmpdir(), 'millrace-repository-'));
  const repository = join(dir, 'models');
  mkdirSync(repository);
  const write = (path: string, content: string | Uint8Array) => {
    mkdirSync(dirname(join(repository, path)), { recursive: true });
    writeFileSync(join(repository, path), content);
  };
  for (const [path, content] of Object.entries(files)) write(path, content);
  const service = await spawnService('model-inference', {
    MILLRACE_MODEL_REPOSITORY: repository,
    MILLRACE_MODEL_REPOSITORY_POLL_MS: '200',
    MILLRACE_DATA_DIR: join(dir, 'data'),
    ...env,
  });
  const client = connect(oip.GRPCInferenceServiceService, service.grpc, { defaultTimeoutMs: 20_000 });
  const index = async () => {
    const { models } = await client.repositoryIndex({ repositoryName: '', ready: false });
    return models.map(({ name, version, state, reason }) => `${name} ${version} ${state}: ${reason}`);
  };
  return {
    dir,
    service,
    oip: client,
    write,
    copy: (from: string, to: string) => cpSync(from, join(repository, to), { recursive: true }),
    remove: (path: string) => rmSync(join(repository, path), { recursive: true, force: true }),
    index,
    /** Until a line of the index holds all of these words. */
    indexed: (...words: readonly string[]) =>
      eventually(
        async () => {
          const lines = await index();
          if (!lines.some((line) => words.every((word) => line.includes(word))))
            throw new Error(`no "${words}" in\n${lines.join('\n')}`);
        },
        { timeoutMs: 20_000 },
      ),
    async http(method: string, path: string, body?: unknown) {
      const given = body === undefined ? {} : { body: JSON.stringify(body) };
      const answer = await fetch(`http://${service.http}${path}`, { method, ...given });
      return { status: answer.status, body: (await answer.json()) as unknown };
    },
    async close() {
      client.close();
      await service.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
