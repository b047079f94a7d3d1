import { ingestion } from '@millrace/contracts';
import { toMeshError } from '@millrace/kernel';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { AcceptBatch } from '../app/accept-batch.ts';
import type { BatchOutcome } from '../app/batch-outcome.ts';
import type { createProgress } from '../app/progress.ts';
import type { createQuarantineDesk } from '../app/quarantine-desk.ts';
import { batchEventsMax, type RawEvent } from '../domain/raw-event.ts';
import { orderedStream } from './ordered-stream.ts';

export type IngestionServiceParts = {
  readonly accept: AcceptBatch;
  readonly desk: ReturnType<typeof createQuarantineDesk>;
  readonly progress: ReturnType<typeof createProgress>;
  readonly streamInFlightMax: number;
};

/** The wire of IngestionService. */
export function ingestionService(parts: IngestionServiceParts): ServiceBinding {
  const { accept, desk, progress } = parts;
  return bindService(ingestion.IngestionServiceService, {
    publish: async ({ source, events }, { traceparent }) =>
      toPublishResponse(await accept(source, toRawEvents(events), { traceparent })),

    publishStream: (requests, { traceparent }) =>
      orderedStream(requests, parts.streamInFlightMax, async ({ batchSequence, batch }) => {
        const { source = '', events = [] } = batch ?? {};
        return { batchSequence, ...(await tryAccept(source, events, traceparent)) };
      }),

    listQuarantine: async ({ source, reason, afterPosition, limit }) => {
      const { events, total } = await desk.list({ source, reason }, Number(afterPosition), limit);
      return { events, total: BigInt(total) };
    },

    replayQuarantine: ({ source, reason, quarantineIds }, { signal }) =>
      desk.replay({ source, reason }, quarantineIds, signal),

    getProgress: async ({ source }) => ({
      sources: (await progress(source)).map((one) => ({
        source: one.source,
        accepted: BigInt(one.accepted),
        duplicates: BigInt(one.duplicates),
        quarantined: BigInt(one.quarantined),
        frontierUs: BigInt(one.frontierUs),
        historyPosition: BigInt(one.historyPosition),
        lastPosition: BigInt(one.lastPosition),
        historyEvents: BigInt(one.historyEvents),
      })),
    }),
  });

  /** A batch that is refused as a whole is answered, and the stream goes on. */
  async function tryAccept(source: string, events: readonly ingestion.Event[], traceparent: string | undefined) {
    try {
      const outcome = await accept(source, toRawEvents(events), { traceparent });
      return { result: toPublishResponse(outcome), reason: '', message: '' };
    } catch (cause) {
      const { reason, message } = toMeshError(cause, 'could not accept the batch');
      return { result: undefined, reason, message };
    }
  }
}

function toRawEvents(events: readonly ingestion.Event[]): RawEvent[] {
  // Beyond the limit only the number counts: the batch is refused.
  if (events.length > batchEventsMax) return new Array<RawEvent>(events.length);
  return events.map(({ id, eventTimeUs, json }) => ({
    id,
    eventTimeUs: Number(eventTimeUs),
    payload: json,
    form: 'fields',
  }));
}

function toPublishResponse(outcome: BatchOutcome): ingestion.PublishResponse {
  return {
    accepted: outcome.accepted,
    duplicates: outcome.duplicates,
    rejections: [...outcome.rejections],
    position: BigInt(outcome.position),
    knownTimeUs: BigInt(outcome.knownTimeUs),
  };
}
