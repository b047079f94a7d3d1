/** What is to be committed, with its size in whatever `sizeMax` counts. */
export interface CommitItem {
  readonly size: number;
}

export interface GroupCommit<Item extends CommitItem> {
  /** Resolves when the item is committed. Rejects with the signal's reason when the caller gives up, or with what the commit throws. */
  commit(item: Item, group: string, signal: AbortSignal): Promise<void>;
}

interface Waiting<Item> {
  readonly item: Item;
  readonly done: (error?: unknown) => void;
  /** Out of what it is part of. */
  leave: () => void;
}

interface Group<Item> {
  inFlight: number;
  isDue: boolean;
  readonly waiting: Set<Waiting<Item>>;
}

/**
 * Commits together what comes together: the items of one callback of the event loop at once, and those that come while commits of their group are on their way when one of
 * them is done. Nobody waits for company. A commit is given up when nobody waits for it any more.
 */
export function createGroupCommit<Item extends CommitItem>(deps: {
  /** Of a group, at once. */
  readonly inFlightMax: number;
  /** Of a commit; an item that is larger goes alone. */
  readonly sizeMax: number;
  readonly write: (items: readonly Item[], signal: AbortSignal) => Promise<void>;
}): GroupCommit<Item> {
  const groups = new Map<string, Group<Item>>();

  function dueSoon(name: string, group: Group<Item>): void {
    if (group.isDue) return;
    group.isDue = true;
    // after the promises that this callback resolves: their items come together
    process.nextTick(() => {
      group.isDue = false;
      writeWaiting(name, group);
    });
  }

  function writeWaiting(name: string, group: Group<Item>): void {
    while (group.inFlight < deps.inFlightMax && group.waiting.size > 0) void write(name, group, take(group));
    if (group.inFlight === 0 && group.waiting.size === 0 && !group.isDue) groups.delete(name);
  }

  function take(group: Group<Item>): Set<Waiting<Item>> {
    const taken = new Set<Waiting<Item>>();
    let size = 0;
    for (const one of group.waiting) {
      size += one.item.size;
      if (taken.size > 0 && size > deps.sizeMax) break;
      taken.add(one);
      group.waiting.delete(one);
    }
    return taken;
  }

  async function write(name: string, group: Group<Item>, taken: Set<Waiting<Item>>): Promise<void> {
    const aborter = new AbortController();
    for (const one of taken)
      one.leave = () => {
        taken.delete(one);
        if (taken.size === 0) aborter.abort();
      };
    group.inFlight++;
    try {
      await deps.write(
        Array.from(taken, ({ item }) => item),
        aborter.signal,
      );
      for (const one of taken) one.done();
    } catch (error) {
      for (const one of taken) one.done(error);
    }
    group.inFlight--;
    writeWaiting(name, group);
  }

  return {
    commit(item, name, signal) {
      if (signal.aborted) return Promise.reject(signal.reason);
      return new Promise((resolve, reject) => {
        const group = groups.get(name) ?? { inFlight: 0, isDue: false, waiting: new Set() };
        groups.set(name, group);
        const giveUp = () => {
          one.leave();
          reject(signal.reason);
        };
        const one: Waiting<Item> = {
          item,
          done(error) {
            signal.removeEventListener('abort', giveUp);
            if (error === undefined) resolve();
            else reject(error);
          },
          leave: () => group.waiting.delete(one),
        };
        signal.addEventListener('abort', giveUp, { once: true });
        group.waiting.add(one);
        dueSoon(name, group);
      });
    },
  };
}
