import { serving } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { fromRpcStatus, toRpcStatus } from '@millrace/rpc';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeReadRequest } from './decode-request.ts';
import { decodeStreamRead, encodeStreamAnswer } from './stream-message.ts';

test('the id comes back exactly, and the read is the same as without a stream', () => {
  fc.assert(
    fc.property(
      fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      fc.string(),
      fc.nat({ max: 2 ** 32 - 1 }),
      (id, service, timeoutMs) => {
        const read = serving.GetFeaturesRequest.fromPartial({ featureService: service });
        const sent = serving.StreamFeaturesRequest.encode(
          serving.StreamFeaturesRequest.fromPartial({ id, read, timeoutMs }),
        );
        const got = decodeStreamRead(Buffer.from(sent.finish()));
        expect(got.timeoutMs).toBe(timeoutMs);
        expect(decodeReadRequest(got.read).featureService).toBe(service);
        const failed = new MeshError('OVERLOADED', 'later', { rows: 3 }, { retryAfterMs: 250 });
        const answer = serving.StreamFeaturesResponse.decode(
          encodeStreamAnswer({ id: got.id, error: toRpcStatus(failed) }),
        );
        expect(answer.id).toBe(id);
        const { result } = answer;
        expect(result?.$case === 'error' ? fromRpcStatus(result.value) : undefined).toMatchObject({
          reason: 'OVERLOADED',
          message: 'later',
          metadata: { rows: '3' },
          retryAfterMs: 250,
        });
      },
    ),
  );
});

test('bytes that are no message of the stream are refused', () => {
  for (const bytes of [[0x08], [0x12, 0x05, 0x00], [0x0b], [0xff]])
    expect(() => decodeStreamRead(Buffer.from(bytes))).toThrow(
      expect.objectContaining({ reason: 'MALFORMED_PAYLOAD' }),
    );
});
