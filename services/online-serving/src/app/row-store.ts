import type { StoredRow } from '../domain/evaluate.ts';
import type { PlannedEntity } from '../domain/plan.ts';

/** Takes the rows of read number `index`, in the order of the entity's views. The bytes are good until it returns. */
export type TakeRows = (index: number, rows: readonly StoredRow[]) => void;

/** Rows of entities. */
export interface RowStore {
  /** Hands over rows as they come in. Resolves with the reads that the store did not answer in time; rejects when `take` throws. */
  read(reads: readonly EntityRead[], timeoutMs: number, take: TakeRows): Promise<readonly number[]>;
}

export type EntityRead = { readonly key: string; readonly entity: PlannedEntity };
