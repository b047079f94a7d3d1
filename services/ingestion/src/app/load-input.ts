import type { InputRow, RowChunk, RowMapping, RowReader } from '@millrace/inputs';
import type { Clock } from '@millrace/kernel';
import { MeshError, sleep } from '@millrace/kernel';
import { problem } from '../domain/problem.ts';
import type { RawEvent } from '../domain/raw-event.ts';
import type { AcceptBatch, Quarantine } from './accept-batch.ts';
import type { RejectedEvent } from './batch-outcome.ts';
import type { IngestionMetrics } from './ingestion-metrics.ts';
import type { RowCounts, RowRejection } from './load-store.ts';

export type InputParts = {
  readonly accept: AcceptBatch;
  readonly quarantine: Quarantine;
  readonly metrics: IngestionMetrics;
  readonly clock: Clock;
};

/** One input to publish. */
export type OpenInput = {
  readonly source: string;
  readonly sourceVersion: string;
  readonly uri: string;
  readonly reader: RowReader;
  readonly mapping: RowMapping;
  readonly idBase: string;
  /** Rows up to this one are durable already. */
  readonly afterRow: number;
  /** Later rows may correct earlier ones: one batch after the other. */
  readonly isOrdered: boolean;
};

/** What became of the rows up to `row`, in order; `bytesRead` of the input. */
export type Settled = RowCounts & {
  readonly row: number;
  readonly bytesRead: number;
  readonly rejections: readonly RowRejection[];
};

/** Batches of one load that are published at once: streams go on beside it. */
const inFlightMax = 4;
const retryPauseMs = 250;

/** Publishes an input's rows, a chunk a batch, a few at once; reads no faster than they are acknowledged. Yields in the order of the rows. */
export async function* publishInput(parts: InputParts, input: OpenInput, signal: AbortSignal): AsyncGenerator<Settled> {
  const flying: Promise<Settled>[] = [];
  try {
    for await (const chunk of input.reader.chunks()) {
      if (signal.aborted) break;
      const rows = chunk.rows.filter(({ number }) => number > input.afterRow);
      if (rows.length === 0) continue;
      const settled = publishRows(parts, input, rows, chunk, signal);
      // it is awaited in its turn; until then a rejection must not count as unhandled
      settled.catch(() => {});
      flying.push(settled);
      if (flying.length >= (input.isOrdered ? 1 : inFlightMax)) yield (await flying.shift()) as Settled;
    }
    for (let next = flying.shift(); next !== undefined; next = flying.shift()) yield await next;
  } finally {
    await Promise.allSettled(flying);
  }
}

async function publishRows(
  parts: InputParts,
  input: OpenInput,
  rows: readonly InputRow[],
  { bytesRead }: RowChunk,
  signal: AbortSignal,
): Promise<Settled> {
  const { source, uri, mapping, idBase } = input;
  const good = rows.filter((row) => row.t === 'row');
  const events = good.map((row): RawEvent => {
    const { id, eventTimeUs, json, operation } = mapping.toEvent(row, idBase);
    return { id, eventTimeUs, payload: json, form: 'fields', ...(operation === undefined ? {} : { operation }) };
  });
  const outcome = events.length === 0 ? undefined : await acceptPatiently(parts, source, events, signal);
  const rejections = (outcome?.rejections ?? []).map(({ index, reason, field, message }) => ({
    input: uri,
    row: good[index]?.number ?? 0,
    reason,
    field,
    message,
  }));
  const bad = await keepBad(parts, input, rows);
  return {
    row: rows.reduce((last, { number }) => Math.max(last, number), 0),
    rows: rows.length,
    accepted: outcome?.accepted ?? 0,
    duplicates: outcome?.duplicates ?? 0,
    rejected: rejections.length + bad.length,
    bytesRead,
    rejections: [...rejections, ...bad],
  };
}

/** A load waits where a publisher would be told to come again. */
async function acceptPatiently(
  { accept }: InputParts,
  source: string,
  events: readonly RawEvent[],
  signal: AbortSignal,
) {
  for (;;) {
    try {
      return await accept(source, events);
    } catch (cause) {
      if (!(cause instanceof MeshError) || cause.reason !== 'OVERLOADED') throw cause;
      await sleep(cause.retryAfterMs ?? retryPauseMs, signal);
      signal.throwIfAborted();
    }
  }
}

/** Rows that could not be read go to quarantine as they are written. */
async function keepBad(
  { quarantine, metrics, clock }: InputParts,
  { source, sourceVersion, uri, mapping, idBase }: OpenInput,
  rows: readonly InputRow[],
): Promise<RowRejection[]> {
  const bad = rows.filter((row) => row.t === 'bad');
  if (bad.length === 0) return [];
  const rejected = bad.map((row): RejectedEvent => {
    const { id, json } = mapping.toEvent(row, idBase);
    return {
      source,
      sourceVersion,
      event: { id, eventTimeUs: 0, payload: json, form: 'fields' },
      id,
      why: problem('MALFORMED_PAYLOAD', '', row.message),
    };
  });
  await quarantine.keep(rejected, clock.nowUs());
  for (const { why } of rejected) metrics.quarantined(source, why.reason);
  return bad.map(({ number, message }) => ({
    input: uri,
    row: number,
    reason: 'MALFORMED_PAYLOAD',
    field: '',
    message,
  }));
}
