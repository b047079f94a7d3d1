import { join } from 'node:path';
import { MeshError } from '@millrace/kernel';
import { type ExitInfo, nodePath, startProcess } from '@millrace/stores';

export type ServiceOptions = {
  readonly readyTimeoutMs?: number;
  readonly logFile?: string;
  readonly signal?: AbortSignal;
};

export type RunningService = {
  readonly name: string;
  /** `host:port`; changes at a restart unless the environment fixes the port. */
  readonly grpc: string;
  readonly http: string;
  readonly pid: number;
  readonly running: boolean;
  readonly exited: Promise<ExitInfo>;
  /** Everything that the service has written (both outputs), at most the last 5,000 lines. */
  logs(): string;
  stop(options?: { readonly graceMs?: number }): Promise<ExitInfo>;
  kill9(): Promise<ExitInfo>;
  /** Same environment, and the same addresses as before, as a supervisor would do. */
  restart(): Promise<void>;
};

type Ready = { readonly grpc: string; readonly http: string };

const root = join(import.meta.dirname, '..', '..', '..');
const logLinesMax = 5_000;

/**
 * Runs `services/<name>/src/main.ts` in a process of its own and waits for its `{"event":"ready",…}` line. The ports
 * are any free ones unless `env` sets MILLRACE_GRPC_ADDRESS and MILLRACE_HTTP_ADDRESS.
 */
export async function spawnService(
  name: string,
  env: Readonly<Record<string, string | undefined>>,
  options: ServiceOptions = {},
): Promise<RunningService> {
  const logs: string[] = [];
  let ready: Ready | undefined;
  const variables: Record<string, string | undefined> = {
    MILLRACE_GRPC_ADDRESS: '127.0.0.1:0',
    MILLRACE_HTTP_ADDRESS: '127.0.0.1:0',
    ...env,
  };
  const child = await startProcess({
    ...options,
    name,
    command: nodePath(),
    args: ['--enable-source-maps', join(root, 'services', name, 'src', 'main.ts')],
    env: variables,
    onLine(line) {
      if (logs.push(line) > logLinesMax) logs.shift();
    },
    ready: {
      line(line) {
        const seen = parseReady(line);
        if (seen === undefined) return false;
        ready = seen;
        return true;
      },
    },
  });
  const addresses = () => {
    if (ready === undefined) throw new MeshError('PROCESS_FAILED', `service "${name}" is not ready`, { process: name });
    return ready;
  };
  return {
    name,
    get grpc() {
      return addresses().grpc;
    },
    get http() {
      return addresses().http;
    },
    get pid() {
      return child.pid;
    },
    get running() {
      return child.running;
    },
    get exited() {
      return child.exited;
    },
    logs: () => logs.join('\n'),
    stop: child.stop,
    kill9: child.kill9,
    async restart() {
      const { grpc, http } = addresses();
      variables.MILLRACE_GRPC_ADDRESS = grpc;
      variables.MILLRACE_HTTP_ADDRESS = http;
      await child.restart();
    },
  };
}

function parseReady(line: string): Ready | undefined {
  if (!line.startsWith('{') || !line.includes('"ready"')) return undefined;
  try {
    const { event, grpc = '', http = '' } = JSON.parse(line) as Readonly<Record<string, string | undefined>>;
    return event === 'ready' ? { grpc, http } : undefined;
  } catch {
    return undefined;
  }
}
