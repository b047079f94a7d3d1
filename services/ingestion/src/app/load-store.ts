import type { loads } from '@millrace/contracts';
import type { Reason } from '@millrace/kernel';
import type { TailState } from '../domain/watermark-tail.ts';

export type LoadState = 'queued' | 'running' | 'held' | 'succeeded' | 'failed' | 'cancelled';

/** A row that went to quarantine. */
export type RowRejection = {
  readonly input: string;
  readonly row: number;
  readonly reason: string;
  readonly field: string;
  readonly message: string;
};

/** What became of rows. */
export type RowCounts = { rows: number; accepted: number; duplicates: number; rejected: number };

/** A load as it is kept: what was asked for and where it stands. */
export type LoadRecord = {
  readonly id: string;
  readonly request: loads.StartLoadRequest;
  readonly state: LoadState;
  readonly reason: Reason | '';
  readonly message: string;
  readonly startedUs: number;
  readonly endedUs: number;
  readonly progress: LoadProgress;
};

export type LoadProgress = Readonly<RowCounts> & {
  readonly inputs: number;
  readonly inputsDone: number;
  readonly inputsSkipped: number;
  readonly bytes: number;
  readonly bytesTotal: number;
  readonly rejections: readonly RowRejection[];
};

/**
 * The ledger's line for one input of a source: how far it was read and with what ids. It is written after the rows that it counts are
 * durable, so a crash in between makes duplicates and never a gap.
 */
export type InputRecord = Readonly<RowCounts> & {
  readonly uri: string;
  /** What told its content without reading it, when it was read last. */
  readonly fingerprint: string;
  readonly sha256: string;
  /** What ids of rows without id columns are made of: the digest of the content that was read first. */
  readonly idBase: string;
  /** The options it is read with: with others a half-read input begins anew. */
  readonly formatKey: string;
  readonly bytes: number;
  /** Every row up to this one is durable. */
  readonly lastRow: number;
  readonly done: boolean;
  readonly readUs: number;
  readonly loadId: string;
  readonly changes: number;
  /** Of a query: how far it was read. */
  readonly watermark?: TailState;
};

export type LoadStore = {
  /** Every load that is kept, oldest first. */
  loads(): Promise<LoadRecord[]>;
  putLoad(load: LoadRecord): Promise<void>;
  input(source: string, uri: string): Promise<InputRecord | undefined>;
  putInput(source: string, input: InputRecord): Promise<void>;
  /** The whole ledger of a source. */
  inputs(source: string): Promise<InputRecord[]>;
};

export const noProgress: LoadProgress = {
  rows: 0,
  accepted: 0,
  duplicates: 0,
  rejected: 0,
  inputs: 0,
  inputsDone: 0,
  inputsSkipped: 0,
  bytes: 0,
  bytesTotal: 0,
  rejections: [],
};
