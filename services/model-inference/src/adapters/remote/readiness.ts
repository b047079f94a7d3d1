import { MeshError } from '@millrace/kernel';
import type { RemoteCall } from './backend.ts';

/** How often a backend is asked whether its model is ready, and what that may take. */
const everyMs = 2_000;
const askMs = 1_500;

export interface Readiness {
  /** Why the model was not ready when it was asked last. */
  problem(): MeshError | undefined;
  stop(): void;
}

/** Follows what a backend says of its model, so that ModelReady says what is so. */
export function followReady(deps: {
  readonly backend: string;
  readonly ready: (call: RemoteCall) => Promise<boolean>;
  readonly onChange: (isReady: boolean, why: string) => void;
}): Readiness {
  const stopped = new AbortController();
  let problem: MeshError | undefined;
  const ask = async () => {
    const before = problem;
    problem = await deps.ready({ timeoutMs: askMs, signal: stopped.signal }).then(
      (isReady) => (isReady ? undefined : notReady('it says that its model is not ready')),
      (error) => notReady(error instanceof Error ? error.message : String(error)),
    );
    if (!stopped.signal.aborted && (before === undefined) !== (problem === undefined))
      deps.onChange(problem === undefined, problem?.message ?? '');
  };
  const notReady = (why: string) =>
    new MeshError(
      'MODEL_NOT_READY',
      `backend ${deps.backend}: ${why}`,
      { backend: deps.backend },
      { retryAfterMs: everyMs },
    );
  // askMs is shorter than everyMs: one at a time
  const timer = setInterval(() => void ask(), everyMs);
  timer.unref();
  return {
    problem: () => problem,
    stop() {
      clearInterval(timer);
      stopped.abort();
    },
  };
}
