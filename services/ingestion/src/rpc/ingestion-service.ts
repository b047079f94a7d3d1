import { ingestion } from '@millrace/contracts';
import { canonicalJson, MeshError, toMeshError } from '@millrace/kernel';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { AcceptBatch } from '../app/accept-batch.ts';
import type { BatchOutcome } from '../app/batch-outcome.ts';
import { type Definitions, registeredSource } from '../app/definitions.ts';
import type { ExpectationResult, ResultBook } from '../app/expectation-judge.ts';
import type { FittedStates } from '../app/fitted-states.ts';
import type { createProgress } from '../app/progress.ts';
import type { createQuarantineDesk } from '../app/quarantine-desk.ts';
import type { SourceBlock, SourceBlocks } from '../app/source-blocks.ts';
import { type JsonObject, parseJsonObject } from '../domain/parse-json.ts';
import { Problem } from '../domain/problem.ts';
import { orderedStream } from './ordered-stream.ts';
import { toRawEvents } from './raw-events.ts';

export type IngestionServiceParts = {
  readonly accept: AcceptBatch;
  readonly desk: ReturnType<typeof createQuarantineDesk>;
  readonly progress: ReturnType<typeof createProgress>;
  readonly streamInFlightMax: number;
  readonly definitions: Definitions;
  readonly results: Pick<ResultBook, 'list'>;
  readonly blocks: Pick<SourceBlocks, 'standing' | 'resume'>;
  readonly fitted: FittedStates;
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

    listQuarantine: async ({ afterPosition, limit, ...filter }) => {
      const { events, total } = await desk.list(filter, Number(afterPosition), limit);
      return { events, total: BigInt(total) };
    },

    explainQuarantine: async ({ source, quarantineId }) => {
      const explained = await desk.explain(source, quarantineId);
      const { event } = explained;
      const spec = parts.definitions.current().sources.get(event.source)?.spec;
      const expectation = spec?.expectations.find(({ name }) => name !== '' && name === event.expectation);
      return { ...explained, expectationJson: expectation === undefined ? '' : canonicalJson(expectation) };
    },

    replayQuarantine: ({ quarantineIds, mergePatchJson, dryRun, newEventId, by, why, ...filter }, { signal }) => {
      const patch = mergePatchJson.length === 0 ? undefined : parsePatch(mergePatchJson);
      const person = { by: by || 'unknown', reason: why ?? '' };
      return desk.replay(filter, { ids: quarantineIds, patch, dryRun, newEventId, person }, signal);
    },

    listExpectationResults: async ({ source, expectation, afterUs, limit, latest }) => {
      const { spec } = await registeredSource(parts.definitions, source);
      if (limit < 0 || limit > resultsMax)
        throw new MeshError('LIMIT_EXCEEDED', `limit ${limit} is not 0 to ${resultsMax}`, { limit });
      const wanted = limit || 100;
      const results = await parts.results.list({
        source,
        expectation,
        afterUs: Number(afterUs),
        limit: wanted,
        latest,
      });
      return {
        results: results.map(toResult),
        fitted: spec.fields.flatMap(({ name }) => fittedOf(source, name)),
        blocks: parts.blocks.standing(source).map(toBlock),
      };
    },

    resumeSource: async ({ source, expectation, by, reason }) => {
      await registeredSource(parts.definitions, source);
      const lifted = await parts.blocks.resume(source, expectation, { by: by || 'unknown', reason });
      return { lifted: lifted.map(toBlock), standing: parts.blocks.standing(source).map(toBlock) };
    },

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

  function fittedOf(source: string, field: string): ingestion.FittedState[] {
    const state = parts.fitted.of(source, field);
    return state ? [{ ...state, field, rows: BigInt(state.rows), fittedUs: BigInt(state.fittedUs) }] : [];
  }

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

const resultsMax = 10_000;

function toResult({
  source: _,
  outcome,
  startUs,
  endUs,
  rows,
  ...rest
}: ExpectationResult): ingestion.ExpectationResult {
  return {
    ...rest,
    outcome: ingestion.ExpectationOutcome[outcome],
    observed: rest.observed,
    startUs: BigInt(startUs),
    endUs: BigInt(endUs),
    rows: BigInt(rows),
  };
}

function toBlock({
  liftedUs: _,
  judgedBy: __,
  startUs,
  endUs,
  blockedUs,
  resumesUs,
  ...rest
}: SourceBlock): ingestion.SourceBlock {
  return {
    ...rest,
    observed: rest.observed,
    startUs: BigInt(startUs),
    endUs: BigInt(endUs),
    blockedUs: BigInt(blockedUs),
    resumesUs: BigInt(resumesUs),
  };
}

function parsePatch(bytes: Uint8Array): JsonObject {
  const patch = parseJsonObject(bytes);
  if (patch instanceof Problem)
    throw new MeshError('INVALID_ARGUMENT', `the merge patch is not a JSON object: ${patch.message}`, {});
  return patch;
}

function toPublishResponse(outcome: BatchOutcome): ingestion.PublishResponse {
  return {
    accepted: outcome.accepted,
    duplicates: outcome.duplicates,
    rejections: [...outcome.rejections],
    warnings: outcome.warnings.slice(0, 256),
    position: BigInt(outcome.position),
    knownTimeUs: BigInt(outcome.knownTimeUs),
  };
}
