import type { Socket } from 'node:net';
import { Connection } from '../h2/connection.ts';
import type { Stream } from '../h2/stream.ts';
import { failureBlocks, httpBlock, unimplemented } from './answer-blocks.ts';
import { type CallHead, readCallHead } from './call-head.ts';
import type { CallLimits, ServerMethod } from './server-method.ts';
import { receiveStream } from './stream-call.ts';
import { receiveUnary } from './unary-call.ts';

/** Answers the calls of one connection. */
export function serveConnection(
  socket: Socket,
  options: {
    readonly methods: ReadonlyMap<string, ServerMethod>;
    readonly limits: CallLimits;
    readonly onClose: (connection: Connection<CallHead>, error: Error | undefined) => void;
  },
): Connection<CallHead> {
  const { methods, limits, onClose } = options;

  function onStream(stream: Stream, head: CallHead): void {
    const method = methods.get(head.path);
    if (head.httpProblem !== undefined) stream.trailers(httpBlock(head.httpProblem));
    else if (head.problem !== undefined) stream.trailers(failureBlocks(head.problem).alone);
    else if (!method) stream.trailers(failureBlocks(unimplemented(`no method ${head.path} here`)).alone);
    else if (method.t === 'unary') stream.receiver = receiveUnary(stream, head, method, limits);
    else stream.receiver = receiveStream(stream, head, method, limits);
  }

  const connection: Connection<CallHead> = new Connection(socket, {
    readHead: readCallHead,
    onStream,
    onClose: (error) => onClose(connection, error),
  });
  return connection;
}
