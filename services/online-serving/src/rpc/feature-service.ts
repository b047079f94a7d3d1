import { serving } from '@millrace/contracts';
import { bindService, type CallContext, type ServiceBinding, toRpcStatus } from '@millrace/rpc';
import type { Full } from '../app/metrics.ts';
import type { ReadFeatures } from '../app/read-features.ts';
import { encodeMatrix, type Matrix } from '../domain/matrix.ts';
import type { ReadRequest } from '../domain/request.ts';
import { completionStream } from './completion-stream.ts';
import { countRows } from './count-rows.ts';
import { decodeReadRequest } from './decode-request.ts';
import { decodeStreamRead, encodeStreamAnswer, type StreamAnswer, type StreamRead } from './stream-message.ts';

/**
 * FeatureService over gRPC. Requests are decoded and answers encoded by hand: between the two, a request is a ReadRequest and an
 * answer a Matrix, whose bytes already are the wire's.
 */
export function featureService(deps: {
  readonly readFeatures: ReadFeatures;
  readonly full: Full;
  /** Reads of one stream that are not answered; beyond it the stream is read no further. */
  readonly streamInFlightMax: number;
  /** Told of each stream that opens (1) and ends (-1). */
  readonly onStream: (change: 1 | -1) => void;
}): ServiceBinding {
  const { readFeatures, full, streamInFlightMax, onStream } = deps;
  return bindService(
    serving.FeatureServiceService,
    {
      async getFeatures(request, context) {
        const matrix = await readFeatures(request as unknown as ReadRequest, context);
        return matrix as unknown as serving.GetFeaturesResponse;
      },
      streamFeatures: (requests, context) =>
        stream(requests as unknown as AsyncIterable<StreamRead>, context) as unknown as AsyncIterable<never>,
    },
    {
      getFeatures: {
        deserialize: (bytes: Buffer) => decodeReadRequest(bytes) as unknown as serving.GetFeaturesRequest,
        serialize: (response: unknown) => encodeMatrix(response as Matrix),
      },
      streamFeatures: {
        deserialize: (bytes: Buffer) => decodeStreamRead(bytes) as unknown as serving.StreamFeaturesRequest,
        serialize: (answer: unknown) => encodeStreamAnswer(answer as StreamAnswer),
      },
    },
    { getFeatures: ({ caller }, message) => full(caller, countRows(message)) },
  );

  async function* stream(reads: AsyncIterable<StreamRead>, context: CallContext): AsyncIterable<StreamAnswer> {
    const { signal, caller, deadlineMs: streamEndMs = Number.POSITIVE_INFINITY } = context;
    const read = async ({ id, read: bytes, timeoutMs }: StreamRead): Promise<StreamAnswer> => {
      try {
        const endMs = timeoutMs > 0 ? Math.min(streamEndMs, Date.now() + timeoutMs) : streamEndMs;
        const deadlineMs = Number.isFinite(endMs) ? endMs : undefined;
        return { id, matrix: await readFeatures(decodeReadRequest(bytes), { signal, deadlineMs, caller }) };
      } catch (thrown) {
        return { id, error: toRpcStatus(thrown) };
      }
    };
    onStream(1);
    try {
      yield* completionStream(reads, streamInFlightMax, read);
    } finally {
      onStream(-1);
    }
  }
}
