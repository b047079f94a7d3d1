import type { ExitInfo, RunningProcess } from './process.ts';

export type StoreOptions = {
  /** The server's data; made when missing, never removed. */
  readonly dir: string;
  /** 0 (the default) takes a free port. Restarts keep the port. */
  readonly port?: number;
  readonly logFile?: string;
  readonly readyTimeoutMs?: number;
  /** Its nice value, from 0 to 19. */
  readonly nice?: number;
  readonly signal?: AbortSignal;
};

/** A server of our own, as a child process. */
export type Store = {
  readonly url: string;
  readonly port: number;
  readonly dir: string;
  readonly pid: number;
  readonly running: boolean;
  readonly exited: Promise<ExitInfo>;
  tail(lines?: number): string;
  stop(options?: { readonly graceMs?: number }): Promise<ExitInfo>;
  kill9(): Promise<ExitInfo>;
  /** Same port, same directory; after a `stop` or `kill9` too. */
  restart(): Promise<void>;
};

export function storeOf(
  child: RunningProcess,
  where: {
    readonly url: string;
    readonly port: number;
    readonly dir: string;
    readonly restartArgs?: readonly string[];
  },
): Store {
  return {
    url: where.url,
    port: where.port,
    dir: where.dir,
    get pid() {
      return child.pid;
    },
    get running() {
      return child.running;
    },
    get exited() {
      return child.exited;
    },
    tail: child.tail,
    stop: child.stop,
    kill9: child.kill9,
    restart: () => child.restart(where.restartArgs === undefined ? {} : { args: where.restartArgs }),
  };
}
