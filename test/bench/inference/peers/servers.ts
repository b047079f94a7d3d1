import { spawn } from 'node:child_process';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BenchContext } from '../../bench.ts';
import { freePort } from '../../feast/peer.ts';
import { onCore } from '../../serving-load.ts';
import { installed } from './install.ts';

/** A Python server on the first core. */
export type PeerServer = { readonly grpc: string; readonly http: string; stop(): Promise<void> };

/** ONNX files by model name. */
export type PeerModels = Readonly<Record<string, string>>;

type Tools = Pick<BenchContext, 'progress' | 'signal'>;

export type MlserverSettings = {
  /** 0: the model runs in the server's process. */
  readonly workers: 0 | 1;
  /** Of adaptive batching, which is off by default: requests and seconds at most. */
  readonly batch?: { readonly size: number; readonly seconds: number };
  /** A module beside mlserver_model.py with another runtime, as `module.Class`. */
  readonly implementation?: string;
  /** More of the model's parameters. */
  readonly extra?: Readonly<Record<string, unknown>>;
};

/** MLServer with metrics and access log off; undefined without Python. */
export async function startMlserver(
  models: PeerModels,
  { workers, batch, implementation = 'mlserver_model.Onnx', extra }: MlserverSettings,
  { progress, signal }: Tools,
): Promise<PeerServer | undefined> {
  const bin = await installed('mlserver', progress, signal);
  if (!bin) return undefined;
  const dir = mkdtempSync(join(tmpdir(), 'millrace-peer-'));
  const [http, grpc] = [await freePort(), await freePort()];
  const module = `${implementation.split('.')[0]}.py`;
  const settings = { debug: false, host: '127.0.0.1', http_port: http, grpc_port: grpc, metrics_endpoint: null };
  writeFileSync(join(dir, 'settings.json'), JSON.stringify({ ...settings, parallel_workers: workers }));
  for (const [name, uri] of Object.entries(models)) {
    mkdirSync(join(dir, name));
    copyFileSync(join(import.meta.dirname, module), join(dir, name, module));
    const model = { name, implementation, parameters: { uri, ...(extra ? { extra } : {}) } };
    const batching = batch ? { max_batch_size: batch.size, max_batch_time: batch.seconds } : {};
    writeFileSync(join(dir, name, 'model-settings.json'), JSON.stringify({ ...model, ...batching }));
  }
  const child = { command: join(bin, 'mlserver'), args: ['start', '.'], dir };
  return start('MLServer', child, { http, grpc }, readyOf(models), signal);
}

/** KServe's own server, one process; undefined without Python. */
export async function startKserve(models: PeerModels, { progress, signal }: Tools): Promise<PeerServer | undefined> {
  const bin = await installed('kserve', progress, signal);
  if (!bin) return undefined;
  const dir = mkdtempSync(join(tmpdir(), 'millrace-peer-'));
  const [http, grpc] = [await freePort(), await freePort()];
  const args = [String(http), String(grpc), ...Object.entries(models).map(([name, path]) => `${name}=${path}`)];
  const child = { command: join(bin, 'python'), args: [join(import.meta.dirname, 'kserve_server.py'), ...args], dir };
  return start('KServe', child, { http, grpc }, readyOf(models), signal);
}

/** BentoML with adaptive batching, which has no gRPC; undefined without Python. */
export async function startBentoml(model: string, { progress, signal }: Tools): Promise<PeerServer | undefined> {
  const bin = await installed('bentoml', progress, signal);
  if (!bin) return undefined;
  const dir = mkdtempSync(join(tmpdir(), 'millrace-peer-'));
  const http = await freePort();
  const service = ['bento_service:Onnx', '--working-dir', import.meta.dirname];
  const args = ['serve', ...service, '--host', '127.0.0.1', '--port', String(http)];
  const child = { command: join(bin, 'bentoml'), args, dir, env: { MODEL: model, BENTOML_DO_NOT_TRACK: 'True' } };
  return start('BentoML', child, { http, grpc: 0 }, ['/readyz'], signal);
}

const readyOf = (models: PeerModels) => Object.keys(models).map((name) => `/v2/models/${name}/ready`);

type Child = {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Its working folder, removed when it stops. */
  readonly dir: string;
};

async function start(
  name: string,
  { command, args, env, dir }: Child,
  ports: { readonly http: number; readonly grpc: number },
  readyPaths: readonly string[],
  signal: AbortSignal,
): Promise<PeerServer> {
  const said = join(dir, 'output.log');
  const output = openSync(said, 'w');
  const child = spawn(...onCore(0, command, args), {
    stdio: ['ignore', output, output],
    detached: true,
    cwd: dir,
    env: { ...process.env, ...env, PYTHONPATH: import.meta.dirname, PYTHONDONTWRITEBYTECODE: '1' },
  });
  closeSync(output);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const stop = async () => {
    // its workers are of its group; they may take a while to give in
    const end = (how: NodeJS.Signals) => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null)
        process.kill(-child.pid, how);
    };
    end('SIGTERM');
    const timer = setTimeout(() => end('SIGKILL'), 5_000);
    await exited;
    clearTimeout(timer);
    rmSync(dir, { recursive: true, force: true });
  };
  const http = `127.0.0.1:${ports.http}`;
  for (let tries = 0; tries < 300; tries++) {
    if (signal.aborted) {
      await stop();
      signal.throwIfAborted();
    }
    if (child.exitCode !== null || child.signalCode !== null) {
      const last = readFileSync(said, 'utf8').trim().split('\n').slice(-8).join('\n');
      await stop();
      throw new Error(`${name} ended with ${child.exitCode ?? child.signalCode} before it was ready: ${last}`);
    }
    const answers = await Promise.all(readyPaths.map((path) => isOk(`http://${http}${path}`)));
    if (answers.every(Boolean)) return { grpc: `127.0.0.1:${ports.grpc}`, http, stop };
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await stop();
  throw new Error(`${name} did not get ready within a minute`);
}

function isOk(url: string): Promise<boolean> {
  return fetch(url).then(
    ({ ok }) => ok,
    () => false,
  );
}
