import { execFile } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createTestMesh } from '@millrace/testkit';

const root = join(import.meta.dirname, '..', '..');
const command = join(root, 'libs', 'sdk', 'bin', 'millrace.mjs');

export interface CommandResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** What `--json` printed: one line. */
  json<T>(): T;
}

/** The `millrace` command, run in a folder as a person would run it. */
export function runMillrace(cwd: string, args: readonly string[], input = ''): Promise<CommandResult> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [command, ...args], { cwd }, (error, out, err) => {
      const json = <T>() => {
        if (out.indexOf('\n') !== out.length - 1) throw new Error(`not one line: ${out}${err}`);
        return JSON.parse(out) as T;
      };
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), out, err, json });
    });
    child.stdin?.end(input);
  });
}

export type CliWorld = Awaited<ReturnType<typeof openCliWorld>>;

/** The services that the command asks, and a folder with their endpoints in which `@millrace/sdk` can be imported. */
export async function openCliWorld() {
  const mesh = await createTestMesh({ stores: ['nats', 'redis', 'clickhouse'] });
  try {
    const [governance, ingestion, compute, online] = await Promise.all([
      mesh.service('governance'),
      mesh.service('ingestion', { MILLRACE_INGESTION_HISTORY_FLUSH_INTERVAL_MS: '50' }),
      mesh.service('feature-compute'),
      mesh.service('online-serving'),
    ]);
    const dir = join(mesh.dir, 'work');
    mkdirSync(join(dir, '.millrace'), { recursive: true });
    symlinkSync(join(root, 'node_modules'), join(dir, 'node_modules'));
    const running = { governance, ingestion, 'feature-compute': compute, 'online-serving': online };
    const services = Object.fromEntries(
      Object.entries(running).map(([name, { grpc, http }]) => [name, { grpc, http }]),
    );
    const stores = { nats: mesh.nats.url, redis: mesh.redis.url, clickhouse: mesh.clickhouse.url };
    writeFileSync(join(dir, '.millrace', 'endpoints.json'), JSON.stringify({ services, stores }));
    return {
      mesh,
      dir,
      governance,
      online,
      millrace: (...args: readonly string[]) => runMillrace(dir, args),
      feed: (input: string, ...args: readonly string[]) => runMillrace(dir, args, input),
      write: (name: string, text: string) => writeFileSync(join(dir, name), text),
      close: () => mesh.close(),
    };
  } catch (thrown) {
    await mesh.close();
    throw thrown;
  }
}
