import { LazyCallContext } from '../call-context.ts';
import type { Stream, StreamReceiver } from '../h2/stream.ts';
import { unimplemented } from './answer-blocks.ts';
import type { CallHead } from './call-head.ts';
import { MessageReader } from './message-reader.ts';
import { framed, ServerCall } from './server-call.ts';
import type { CallLimits, UnaryMethod } from './server-method.ts';
import { createGranter } from './window-grants.ts';

const prefixBytes = 5;

/** One request, one answer. A request that comes in one piece, as nearly all do, is not copied. */
export function receiveUnary(stream: Stream, head: CallHead, method: UnaryMethod, limits: CallLimits): StreamReceiver {
  const call = new ServerCall(stream, head);
  let reader: MessageReader | undefined;
  let request: Buffer | undefined;
  const grant = createGranter(stream);

  function begin(message: Buffer): void {
    const context = new LazyCallContext(call);
    const refusal = method.refuse?.(context, message);
    if (refusal) {
      call.fail(refusal);
      return;
    }
    stream.working = true;
    method.answer(message, context).then(
      (answer) => {
        call.send(framed(answer));
        call.succeed();
        stream.done();
      },
      (thrown: unknown) => {
        call.fail(thrown);
        stream.done();
      },
    );
  }

  function take(message: Buffer): void {
    if (request) throw unimplemented(`${method.path} takes one request; the call sent several`);
    request = message;
  }

  return {
    onData(bytes, ended) {
      if (call.ended) return;
      if (!reader && ended && isWhole(bytes) && bytes.length - prefixBytes <= limits.maxMessageBytes) {
        begin(bytes.subarray(prefixBytes));
        return;
      }
      try {
        reader ??= new MessageReader({ maxBytes: limits.maxMessageBytes, encoding: head.encoding });
        reader.push(bytes, take);
        grant(bytes.length);
        if (!ended) return;
        if (!request || reader.partial) throw unimplemented(`${method.path} takes one request; the call ended without`);
      } catch (thrown) {
        call.fail(thrown);
        return;
      }
      begin(request);
    },
    onReset: () => call.onReset(),
    onDrain: () => {},
  };
}

function isWhole(bytes: Buffer): boolean {
  return bytes.length >= prefixBytes && bytes[0] === 0 && bytes.readUInt32BE(1) === bytes.length - prefixBytes;
}
