import { setImmediate as turn } from 'node:timers/promises';
import type { DecodedBatch } from '@millrace/events';
import { MeshError, sleep } from '@millrace/kernel';
import type { Telemetry } from '@millrace/runtime';
import type { ComputeMetrics } from './compute-metrics.ts';
import type { Engine } from './engine.ts';
import type { RowFlusher } from './row-flusher.ts';

export type StreamMessage = {
  readonly seq: number;
  readonly data: Uint8Array;
  readonly traceparent: string | undefined;
  /** Messages of the stream after this one. */
  readonly pending: number;
};

/** How long messages are applied before timers and sockets get a turn: short against the 10 ms between flushes. */
const turnMs = 4;

/** Applies the EVENTS stream in its order until it ends. Waits while more rows are behind, or more retractions wait, than the limit. */
export async function runPipeline(deps: {
  readonly engine: Engine;
  readonly messages: AsyncIterable<StreamMessage>;
  readonly decode: (data: Uint8Array) => DecodedBatch;
  readonly flusher: RowFlusher;
  readonly telemetry: Telemetry;
  readonly metrics: ComputeMetrics;
  /** The first position that the stream still holds. */
  readonly firstPosition: () => Promise<number>;
  readonly rowsBehindMax: number;
  readonly retractionsPendingMax: number;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { engine, flusher, telemetry, metrics, signal } = deps;
  let turnStartedMs = performance.now();
  for await (const message of deps.messages) {
    if (signal.aborted) return;
    if (message.seq > engine.position + 1) await checkGap(message.seq);
    await applyMessage(message);
    if (engine.rowDirtyCount() > 0) flusher.wake();
    metrics.lag.set(message.pending);
    while (engine.rowDirtyCount() > deps.rowsBehindMax && !signal.aborted) await sleep(5, signal);
    while (engine.retractionCount() > deps.retractionsPendingMax && !signal.aborted) await sleep(20, signal);
    if (performance.now() - turnStartedMs > turnMs) {
      await turn();
      turnStartedMs = performance.now();
    }
  }

  /** Retention may overtake a slow reader; a restart then fills the views from history. Single deleted messages are none of ours. */
  async function checkGap(seq: number): Promise<void> {
    const first = await deps.firstPosition();
    if (first <= engine.position + 1) return;
    throw new MeshError(
      'CORRUPT_DATA',
      `the EVENTS stream lost positions ${engine.position + 1} to ${first - 1} to its limits`,
      {
        position: engine.position,
        first,
        seq,
      },
    );
  }

  async function applyMessage(message: StreamMessage): Promise<void> {
    let batch: DecodedBatch;
    try {
      batch = deps.decode(message.data);
    } catch (cause) {
      engine.skip(message.seq);
      metrics.messagesSkipped.inc();
      telemetry.log.error({ event: 'message_unreadable', seq: message.seq, error: String(cause) });
      return;
    }
    const { traceparent } = message;
    if (traceparent === undefined) {
      metrics.eventsApplied(batch.source, engine.apply(message.seq, batch));
      return;
    }
    await telemetry.tracer.span(
      'events.apply',
      {
        kind: 'consumer',
        parent: traceparent,
        attributes: { source: batch.source, seq: message.seq, events: batch.count },
      },
      () => metrics.eventsApplied(batch.source, engine.apply(message.seq, batch)),
    );
    flusher.traced(traceparent);
  }
}
