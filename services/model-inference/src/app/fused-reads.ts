import { createDispatcher } from '@millrace/batching';
import type { serving } from '@millrace/contracts';
import { MeshError, ReasonCode } from '@millrace/kernel';
import type { FeaturesRead } from '../domain/features-read.ts';
import { mergeReads, readGroupOf, splitRead } from '../domain/merged-reads.ts';
import type { ReadFeatures } from './read-vectors.ts';

/** Reads under way before what comes next waits to be one read. */
const inFlightMax = 2;
/** A read that takes longer no longer holds up the others. */
const longReadMs = 20;
/** Rows of a read that is made of several; a caller's own may have more. */
const rowsMax = 1_024;

interface Read {
  readonly request: serving.GetFeaturesRequest;
  readonly rows: number;
}

/**
 * Puts the reads of predictions that come together into one, which online-serving answers with one round trip to Redis. The first reads go at
 * once; those that come while they are under way go together. A read that fails for one caller's sake fails for it alone.
 */
export function createFusedReads(deps: {
  readonly read: (
    request: serving.GetFeaturesRequest,
    options: { readonly timeoutMs: number },
  ) => Promise<FeaturesRead>;
  readonly nowMs: () => number;
  readonly queueMax: number;
  readonly timeoutMs: number;
  readonly onRead: (predictions: number, rows: number) => void;
}): ReadFeatures {
  const dispatcher = createDispatcher({ slots: inFlightMax, nowMs: deps.nowMs });
  const lane = dispatcher.open<Read, FeaturesRead>({
    name: 'features',
    slots: Array.from({ length: inFlightMax }, (_, slot) => slot),
    policy: { rowsMax, delayMs: 0, queueMax: deps.queueMax },
    async run(_, reads, free) {
      const timer = setTimeout(free, longReadMs);
      try {
        const rows = reads.map((read) => read.rows);
        const [only] = reads;
        const isAlone = reads.length === 1 && only !== undefined;
        const request = isAlone
          ? only.request
          : mergeReads(
              reads.map((read) => read.request),
              rows,
            );
        deps.onRead(reads.length, request.asOfUsByRow.length);
        const response = await deps.read(request, { timeoutMs: deps.timeoutMs });
        return isAlone ? [response] : splitRead(response, rows);
      } finally {
        clearTimeout(timer);
      }
    },
    isItems: isCallersDoing,
  });
  return (request, { signal, deadlineMs }) => {
    const rows = request.asOfUsByRow.length;
    return lane.submit({ request, rows }, { rows, group: readGroupOf(request), signal, deadlineMs });
  };
}

/** A key that is null, a value that may not be stale: another caller's rows are not to blame. */
function isCallersDoing(error: unknown): boolean {
  if (!(error instanceof MeshError)) return false;
  return error.code === ReasonCode.INVALID_ARGUMENT || error.reason === 'FEATURE_STALE';
}
