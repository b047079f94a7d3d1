import { createSharedErrors, MeshError } from '@millrace/kernel';
import type { CallSource } from '../call-context.ts';
import type { Stream } from '../h2/stream.ts';
import { failureBlocks, headBlock, okTrailers } from './answer-blocks.ts';
import type { CallHead } from './call-head.ts';

/** What unary and streaming calls share: deadline, cancellation, and how a call ends. */
export class ServerCall implements CallSource {
  readonly stream: Stream;
  readonly head: CallHead;
  readonly deadlineMs: number | undefined;
  /** The caller has gone or its deadline has passed: nothing that is done for it reaches it. */
  cancelled = false;
  #ended = false;
  #headSent = false;
  #listeners: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;

  constructor(stream: Stream, head: CallHead) {
    this.stream = stream;
    this.head = head;
    this.deadlineMs = undefined;
    const { timeoutMs } = head;
    if (timeoutMs === undefined) return;
    this.deadlineMs = Date.now() + timeoutMs;
    // Node's timers take 2³¹ ms at most; a call that may last longer is ended by nobody
    if (timeoutMs <= 0x7fff_ffff) this.#timer = setTimeout(() => this.#expire(), timeoutMs);
  }

  get peer(): string {
    return this.stream.peer;
  }

  get ended(): boolean {
    return this.#ended;
  }

  onCancel(listener: () => void): void {
    if (this.cancelled) listener();
    else this.#listeners.push(listener);
  }

  /** False: wait for the stream to drain. */
  send(message: Buffer): boolean {
    if (this.#ended) return true;
    if (!this.#headSent) this.stream.headers(headBlock);
    this.#headSent = true;
    return this.stream.data(message);
  }

  succeed(): void {
    if (this.#ended) return;
    if (!this.#headSent) this.stream.headers(headBlock);
    this.#end(okTrailers);
  }

  fail(failure: unknown): void {
    if (this.#ended) return;
    const blocks = failureBlocks(failure);
    this.#end(this.#headSent ? blocks.trailers : blocks.alone);
  }

  onReset(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#cancel();
  }

  #expire(): void {
    const { path } = this.head;
    this.fail(
      expiries(
        path,
        Date.now(),
        () => new MeshError('DEADLINE_EXCEEDED', `the deadline of ${path} has passed`, { path }),
      ),
    );
    this.#cancel();
  }

  #cancel(): void {
    if (this.cancelled) return;
    this.cancelled = true;
    const listeners = this.#listeners;
    this.#listeners = [];
    for (const listener of listeners) listener();
  }

  #end(trailers: Buffer): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.stream.trailers(trailers);
  }
}

const expiries = createSharedErrors();
const prefixBytes = 5;

/** A message with the prefix that gRPC gives it. */
export function framed(message: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(prefixBytes + message.length);
  bytes[0] = 0;
  bytes.writeUInt32BE(message.length, 1);
  message.copy(bytes, prefixBytes);
  return bytes;
}
