/** Four of five answers should take less than this part of their time: the rest is for what no queue knows of, as the event loop. */
const goal = 0.4;
/** What one batch changes; their ratio makes the four of five. */
const fall = 0.02;
const rise = fall / 4;
const partMin = 0.02;

/**
 * How long a request may be expected to take. All the time that it has, while answers come soon: a burst may fill it. When they take most of
 * their time, a long queue answers no more requests than a short one, and answers them at the last moment, where the smallest delay
 * makes them late; so it is kept as short as brings answers back to their goal.
 */
export class Patience {
  #part = 1;

  ofMs(leftMs: number): number {
    return leftMs * this.#part;
  }

  /** Of each batch one: nobody waits for the answer of one without a deadline. */
  answered({ queuedMs, deadlineMs }: { readonly queuedMs: number; readonly deadlineMs: number }, nowMs: number): void {
    if (!Number.isFinite(deadlineMs)) return;
    const isLong = nowMs - queuedMs > goal * (deadlineMs - queuedMs);
    this.#part = isLong ? Math.max(partMin, this.#part * (1 - fall)) : Math.min(1, this.#part * (1 + rise));
  }
}
