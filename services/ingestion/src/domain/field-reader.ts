import type { Column, Scalar } from '@millrace/features';
import type { Rows } from './columns.ts';
import type { PayloadHash } from './payload-hash.ts';
import type { Problem } from './problem.ts';

/** One column of one batch: reads the field's values row by row. A failed row is overwritten by the next one. */
export type FieldReader = {
  /** Stores a value that is neither null nor absent, and mixes it into the hash. */
  read(value: unknown, row: number, hash: PayloadHash): Problem | null;
  setNull(row: number): void;
  /** Drops a null that a failed row left behind. */
  clear(row: number): void;
  column(rows: Rows): Column;
  /** The builder's own memory, nulls and all, for checks of the row that was just read. */
  live(): Column;
  isNull(row: number): boolean;
  /** Puts a value in the place of a missing or treated one; the payload's hash does not know it. */
  put(value: Scalar, row: number): void;
  /** The value of a numeric field. */
  number(row: number): number;
  scalar(row: number): Scalar;
  /** The value for a partition key. */
  keyText(row: number): string;
  /** About how many bytes the row takes in a message. */
  size(row: number): number;
};

export type FieldReaderFactory = (capacity: number) => FieldReader;
