import type { CallContext } from '../call-context.ts';

/** A method as the server runs it: bytes in, bytes out. */
export type ServerMethod = UnaryMethod | StreamMethod;

export type UnaryMethod = {
  readonly t: 'unary';
  readonly path: string;
  /** Asked before the request is decoded: an error refuses the call. */
  readonly refuse: ((context: CallContext, message: Buffer) => Error | undefined) | undefined;
  /** Resolves with the message of the answer. */
  answer(message: Buffer, context: CallContext): Promise<Buffer>;
};

export type StreamMethod = {
  readonly t: 'stream';
  readonly path: string;
  /** False: exactly one request. */
  readonly requestStream: boolean;
  /** Resolves when all is answered. */
  answer(messages: AsyncIterable<Buffer>, context: CallContext, answers: AnswerSink): Promise<void>;
};

export type AnswerSink = {
  /** Nobody waits for answers any more. */
  readonly ended: boolean;
  /** The promise, if there is one, resolves when the peer takes more. */
  write(message: Buffer): Promise<void> | undefined;
};

export type CallLimits = { readonly maxMessageBytes: number };
