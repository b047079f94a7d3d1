import type { CheckpointMeta } from '../domain/view-record.ts';

export type SavedState = { readonly viewId: string; readonly entityKey: string; readonly bytes: Buffer };

/** The durable state of this process. `commit` is atomic; reads see the last commit. */
export type StateStore = {
  readMeta(): CheckpointMeta | undefined;
  /** Small facts outside the checkpoint, such as the identity of the Redis that holds the rows. */
  readNote(name: string): string | undefined;
  writeNote(name: string, value: string): Promise<void>;
  readState(viewId: string, entityKey: string): Buffer | undefined;
  /** The bytes are the store's only until it has committed. */
  commit(changed: readonly SavedState[], meta: CheckpointMeta): Promise<void>;
  /** Up to `limit` saved states of a view in key order, after an entity key. */
  scan(
    viewId: string,
    after: string | undefined,
    limit: number,
  ): readonly { readonly entityKey: string; readonly bytes: Buffer }[];
  remove(viewId: string, entityKeys: readonly string[]): Promise<void>;
  close(): Promise<void>;
};
