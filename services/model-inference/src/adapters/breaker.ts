import { MeshError } from '@millrace/kernel';
import {
  CircuitState,
  circuitBreaker,
  ExponentialBackoff,
  handleWhen,
  type IBreaker,
  isBrokenCircuitError,
  noJitterGenerator,
} from 'cockatiel';

export interface BreakerOptions {
  /** What errors call it, as `model "fraud"`. */
  readonly name: string;
  /** Which failures open it. */
  readonly breaker: IBreaker;
  /** How long it stays open the first time; twice as long each time that it opens again without having closed. */
  readonly openMs: number;
  readonly openMsMax: number;
  readonly onChange?: (state: 'opened' | 'closed', why: string) => void;
}

/**
 * Keeps calls away from what fails: open, each is refused at once; when its time is over one call tries, and closes it or opens it again.
 * Cockatiel's, with our errors.
 */
export interface Breaker {
  /** What `call` gives or throws. A failure counts when `isFailure` says so; all else is a sign of life. MODEL_NOT_READY while it is open. */
  run<T>(call: () => Promise<T>, isFailure: (error: unknown) => boolean): Promise<T>;
  /** Why calls are refused now; undefined when one would be tried. */
  refusal(): MeshError | undefined;
  isTrying(): boolean;
}

class Counted {
  readonly error: unknown;
  constructor(error: unknown) {
    this.error = error;
  }
}

export function createBreaker({ name, breaker, openMs, openMsMax, onChange }: BreakerOptions): Breaker {
  let [openedAtMs, forMs, failures, why] = [0, 0, 0, ''];
  const backoff = new ExponentialBackoff({
    initialDelay: openMs,
    maxDelay: openMsMax,
    exponent: 2,
    generator: noJitterGenerator,
  });
  const policy = circuitBreaker(
    handleWhen((thrown) => thrown instanceof Counted),
    { breaker, halfOpenAfter: backoff },
  );
  policy.onBreak(() => {
    openedAtMs = Date.now();
    forMs = Math.min(openMsMax, openMs * 2 ** failures++);
    onChange?.('opened', why);
  });
  policy.onReset(() => {
    failures = 0;
    onChange?.('closed', '');
  });
  const notReady = (retryAfterMs: number) =>
    new MeshError(
      'MODEL_NOT_READY',
      `${name} failed again and again, and is tried again in ${retryAfterMs} ms: ${why}`,
      {},
      { retryAfterMs },
    );
  const refusal = () => {
    const leftMs = openedAtMs + forMs - Date.now();
    if (policy.state !== CircuitState.Open || leftMs <= 0) return undefined;
    return notReady(Math.ceil(leftMs));
  };
  return {
    refusal,
    isTrying: () => policy.state === CircuitState.HalfOpen,
    async run(call, isFailure) {
      const refused = refusal();
      if (refused) throw refused;
      const outcome = await policy
        .execute(async () => {
          try {
            return { value: await call() };
          } catch (error) {
            if (!isFailure(error)) return { error };
            why = error instanceof Error ? error.message : String(error);
            throw new Counted(error);
          }
        })
        .catch((thrown) => {
          if (thrown instanceof Counted) return { error: thrown.error };
          // it has opened since
          return { error: isBrokenCircuitError(thrown) ? (refusal() ?? notReady(0)) : thrown };
        });
      if ('error' in outcome) throw outcome.error;
      return outcome.value;
    },
  };
}
