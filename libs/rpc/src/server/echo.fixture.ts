import { MeshError } from '@millrace/kernel';
import { bindService, type ServiceBinding } from '../index.ts';

const identity = (bytes: Buffer): Buffer => bytes;
const method = <const Requests extends boolean, const Responses extends boolean>(
  name: string,
  requestStream: Requests,
  responseStream: Responses,
) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: identity,
  requestDeserialize: identity,
  responseSerialize: identity,
  responseDeserialize: identity,
});

/** A service of plain bytes, to try the transport with. */
export const echoDefinition = {
  unary: method('Unary', false, false),
  fail: method('Fail', false, false),
  hang: method('Hang', false, false),
  wait: method('Wait', false, false),
  hangStream: method('HangStream', false, true),
  /** `<answers> <bytes of each> [fail]` */
  download: method('Download', false, true),
  slowUpload: method('SlowUpload', true, true),
  chat: method('Chat', true, true),
};

export type EchoState = ReturnType<typeof echoState>;

export function echoState() {
  return {
    metadata: new Map() as ReadonlyMap<string, string>,
    deadlineMs: undefined as number | undefined,
    failure: undefined as MeshError | undefined,
    refusal: undefined as MeshError | undefined,
    hold: Promise.withResolvers<void>(),
    waiting: 0,
    hanging: 0,
    aborted: 0,
    decoded: 0,
    produced: 0,
    consumed: 0,
  };
}

export function createEcho(state: EchoState): ServiceBinding {
  const aborted = (signal: AbortSignal) =>
    new Promise<never>((_, reject) => {
      state.hanging++;
      signal.addEventListener('abort', () => {
        state.hanging--;
        state.aborted++;
        reject(signal.reason);
      });
    });
  return bindService(
    echoDefinition,
    {
      unary(request, { metadata }) {
        state.metadata = metadata;
        return request;
      },
      fail() {
        throw state.failure ?? new MeshError('INTERNAL', 'nothing to fail with');
      },
      hang(_request, { signal, deadlineMs }) {
        state.deadlineMs = deadlineMs;
        return aborted(signal);
      },
      async wait(request) {
        state.waiting++;
        await state.hold.promise;
        return request;
      },
      async *hangStream(_request, { signal }) {
        yield await aborted(signal);
      },
      async *download(request) {
        const [answers, bytes, failing] = request.toString().split(' ');
        state.produced = 0;
        for (; state.produced < Number(answers); state.produced++) yield Buffer.alloc(Number(bytes));
        if (failing) throw state.failure;
      },
      async *slowUpload(requests) {
        await state.hold.promise;
        for await (const _ of requests) state.consumed++;
        yield Buffer.from(String(state.consumed));
      },
      async *chat(requests) {
        let index = 0;
        for await (const request of requests) {
          const answer = Buffer.alloc(request.length);
          answer.writeUInt32BE(index++, 0);
          yield answer;
        }
      },
    },
    {
      unary: {
        deserialize(bytes) {
          state.decoded++;
          return bytes;
        },
      },
    },
    { unary: () => state.refusal },
  );
}
