import type { PackedBatch } from '../domain/pack.ts';

/** How far a source has come, counted over the EVENTS stream. */
export type SourceTally = { accepted: number; frontierUs: number; lastPosition: number };

/** What the index knows: everything in the EVENTS stream up to `position`. */
export type IndexMark = { readonly position: number; readonly tallies: Readonly<Record<string, SourceTally>> };

/** One message of the EVENTS stream, as the index records it. */
export type IndexedMessage = { readonly position: number; readonly batch: PackedBatch };

/** The durable map of event ids to payload hashes: a pure function of the EVENTS stream up to its mark. */
export type IdIndex = {
  mark(): IndexMark;
  /** The hash recorded for an id, as two 32-bit lanes, low first; valid until the next call. */
  find(key: string): Uint32Array | undefined;
  /** Records messages and moves the mark, in one transaction. Recording a message again is harmless to the ids. */
  record(messages: readonly IndexedMessage[], mark: IndexMark): Promise<void>;
  /** Forgets everything: the stream that it was a function of is gone. */
  wipe(): Promise<void>;
  close(): Promise<void>;
};

export function idKey(source: string, id: string): string {
  return `${source}\n${id}`;
}
