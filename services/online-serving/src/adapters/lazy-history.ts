import type { History } from '@millrace/history';

export type LazyHistory = {
  /** The connection; the first call, and the first after a failure, makes it. */
  opened(): Promise<History>;
  /** Whether it was made. */
  isOpen(): boolean;
  close(): Promise<void>;
};

/** Connects at the first use, not before: hot reads must start and go on without history. */
export function createLazyHistory(open: () => Promise<History>): LazyHistory {
  let opening: Promise<History> | undefined;
  let isOpen = false;
  return {
    opened() {
      opening ??= open().then(
        (history) => {
          isOpen = true;
          return history;
        },
        (thrown: unknown) => {
          opening = undefined;
          throw thrown;
        },
      );
      return opening;
    },
    isOpen: () => isOpen,
    async close() {
      await (await opening?.catch(() => undefined))?.close();
    },
  };
}
