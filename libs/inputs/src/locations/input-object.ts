/** One thing to read: a file, an object of a bucket, or what a URL answers. */
export interface InputObject {
  readonly uri: string;
  /** What its format is told by. */
  readonly name: string;
  /** 0 when not known beforehand. */
  readonly bytes: number;
  /** Tells this content from an earlier one without reading it; empty when nothing does. */
  readonly fingerprint: string;
  /**
   * Its bytes as a local file. `spool` is where they are written when they are not on this machine; the SHA-256 of all of them makes
   * event ids. INPUT_NOT_FOUND, STORE_UNAVAILABLE, LIMIT_EXCEEDED.
   */
  fetch(spool: string, signal: AbortSignal): Promise<LocalInput>;
}

export interface LocalInput {
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
  /** Whether `path` is a copy, to be removed after use. */
  readonly isCopy: boolean;
}

/** More than this, and a load is to be split. */
export const inputsMax = 100_000;
