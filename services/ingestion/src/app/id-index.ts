import type { PackedBatch } from '../domain/pack.ts';

/** How far a source has come, counted over the EVENTS stream. */
export type SourceTally = { accepted: number; frontierUs: number; lastPosition: number };

/** What the index knows: everything in the EVENTS stream up to `position`. */
export type IndexMark = { readonly position: number; readonly tallies: Readonly<Record<string, SourceTally>> };

/** One message of the EVENTS stream, as the index records it. */
export type IndexedMessage = { readonly position: number; readonly batch: PackedBatch };

/** The hash of the payload as two 32-bit lanes, and the publisher's number of the change, 0 where there was none. */
export type RecordedId = { readonly lo: number; readonly hi: number; readonly sequence: bigint };

/** The durable map of event ids to payload hashes: a pure function of the EVENTS stream up to its mark. */
export type IdIndex = {
  mark(): IndexMark;
  /** What was recorded last for an id; valid until the next call. */
  find(key: string): RecordedId | undefined;
  /** True once ids may have been there that it does not know any more. */
  hasForgotten(): boolean;
  /** Records messages and moves the mark, in one transaction. Recording a message again is harmless to the ids. */
  record(messages: readonly IndexedMessage[], mark: IndexMark): Promise<void>;
  /** Forgets everything: the stream that it was a function of is gone. */
  wipe(): Promise<void>;
  /** The stream begins after the mark: what lay between cannot be known. */
  markForgotten(): void;
  close(): Promise<void>;
};

export function idKey(source: string, id: string): string {
  return `${source}\n${id}`;
}
