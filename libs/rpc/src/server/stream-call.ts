import { MeshError } from '@millrace/kernel';
import { LazyCallContext } from '../call-context.ts';
import type { Stream, StreamReceiver } from '../h2/stream.ts';
import { unimplemented } from './answer-blocks.ts';
import type { CallHead } from './call-head.ts';
import { MessageQueue } from './message-queue.ts';
import { MessageReader } from './message-reader.ts';
import { framed, ServerCall } from './server-call.ts';
import type { AnswerSink, CallLimits, StreamMethod } from './server-method.ts';
import { createGranter } from './window-grants.ts';

/** Any number of answers, and of requests if the method takes them. The handler runs from the headers on. */
export function receiveStream(
  stream: Stream,
  head: CallHead,
  method: StreamMethod,
  limits: CallLimits,
): StreamReceiver {
  const call = new ServerCall(stream, head);
  const reader = new MessageReader({ maxBytes: limits.maxMessageBytes, encoding: head.encoding });
  const requests = new MessageQueue(createGranter(stream));
  let wake = () => {};
  call.onCancel(() => {
    requests.end({ failure: new MeshError('CANCELLED', 'the caller cancelled or its deadline has passed') });
    wake();
  });

  const answers: AnswerSink = {
    get ended() {
      return call.ended;
    },
    write(message) {
      if (call.send(framed(message)) || call.cancelled) return undefined;
      return new Promise<void>((resolve) => {
        wake = resolve;
      });
    },
  };

  async function run(): Promise<void> {
    try {
      const messages = method.requestStream ? requests : only(requests, method.path);
      await method.answer(messages, new LazyCallContext(call), answers);
      call.succeed();
    } catch (thrown) {
      call.fail(thrown);
    } finally {
      await requests.return();
      stream.done();
    }
  }

  stream.working = true;
  void run();
  return {
    onData(bytes, ended) {
      try {
        reader.push(bytes, (message) => requests.push(message));
        if (ended && reader.partial)
          throw new MeshError('MALFORMED_PAYLOAD', 'the stream of requests ends within a message');
      } catch (failure) {
        requests.end({ failure });
      }
      requests.received(bytes.length);
      if (ended) requests.end();
    },
    onReset: () => call.onReset(),
    onDrain: () => wake(),
  };
}

/** The one request of a method that streams answers only. */
async function* only(requests: MessageQueue, path: string): AsyncGenerator<Buffer> {
  const first = await requests.next();
  if (first.done) throw unimplemented(`${path} takes one request; the call ended without`);
  const second = await requests.next();
  if (!second.done) throw unimplemented(`${path} takes one request; the call sent several`);
  yield first.value;
}
