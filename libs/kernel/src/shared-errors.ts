import type { MeshError } from './errors.ts';

/** Gives the error of a key that was made last, or a new one when that is too old. */
export type SharedErrors = (key: string, nowMs: number, make: () => MeshError) => MeshError;

const lifeMs = 10;
const keysMax = 1_000;

/**
 * One error for all calls that fail alike within some milliseconds: making it (its stack) and encoding it costs as much as answering a small
 * call, which a server that sheds load does not have. `nowMs` is of any one clock.
 */
export function createSharedErrors(): SharedErrors {
  const made = new Map<string, { readonly error: MeshError; readonly untilMs: number }>();
  return (key, nowMs, make) => {
    const known = made.get(key);
    if (known && nowMs < known.untilMs) return known.error;
    const error = make();
    if (made.size >= keysMax) made.clear();
    made.set(key, { error, untilMs: nowMs + lifeMs });
    return error;
  };
}
