import { createHash } from 'node:crypto';
import { MeshError } from '@millrace/kernel';
import type { BatchVerdict } from '@millrace/sources';
import type { Problem } from '../domain/problem.ts';
import type { RawEvent } from '../domain/raw-event.ts';
import { type SetGate, setProblem } from '../domain/set-gate.ts';
import type { RowBuilder, SourceValidator } from '../domain/source-validator.ts';
import type { RejectedEvent } from './batch-outcome.ts';

/** An event that would be accepted, and the place that it has in its batch. */
export type Kept = {
  readonly index: number;
  readonly event: RawEvent;
  readonly id: string;
  readonly isDelete: boolean;
};

export type SetAside = { readonly index: number; readonly why: Problem; readonly rejected: RejectedEvent };

/** The events of a batch that fails as a whole, each with what is wrong; a batch that comes again has the same id. */
export function setAside(
  { source, version: sourceVersion }: SourceValidator,
  rows: RowBuilder,
  sets: SetGate,
  verdict: BatchVerdict,
  kept: readonly Kept[],
): SetAside[] {
  const batch = { id: batchId(source, rows, verdict), events: kept.length };
  const atFault = sets.atFault(verdict.expectation);
  return kept.map(({ index, event, id, isDelete }, row) => {
    const why = setProblem(verdict, isDelete ? '' : atFault(row));
    return { index, why, rejected: { source, sourceVersion, event, id, why, batch } };
  });
}

function batchId(source: string, rows: RowBuilder, { expectation }: BatchVerdict): string {
  const hash = createHash('sha256').update(JSON.stringify([source, expectation, rows.ids]));
  const { buffer, byteOffset } = rows.hashes;
  return hash
    .update(new Uint8Array(buffer, byteOffset, rows.count * 8))
    .digest('hex')
    .slice(0, 16);
}

/** Nothing of the batch is accepted, and nothing of it kept. */
export function setRefusal(
  source: string,
  events: number,
  { expectation, message, bound, observed }: BatchVerdict,
): MeshError {
  return new MeshError(
    'EXPECTATION_FAILED',
    `the batch of ${events} events for source "${source}" is refused, nothing of it was accepted: it does not meet expectation "${expectation}", which blocks: ${message}, expected ${bound}; correct the batch and send it again`,
    { source, events, expectation, bound, observed: observed === undefined ? '' : String(observed) },
  );
}
