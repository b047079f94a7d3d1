/** Bytes that wait for the handler; the caller may send more while there are fewer. */
const waitingBytesMax = 64 * 1024;

/**
 * The requests of a stream, for one reader. What comes in while the handler is busy waits here, and `grant` gives the caller its
 * window back only as the handler takes: HTTP/2's flow control holds a faster caller back.
 */
export class MessageQueue implements AsyncIterable<Buffer>, AsyncIterator<Buffer> {
  readonly #grant: (bytes: number) => void;
  #messages: Buffer[] = [];
  #waitingBytes = 0;
  #withheld = 0;
  #end: { readonly failure?: unknown } | undefined;
  #stopped = false;
  #wake: (() => void) | undefined;

  constructor(grant: (bytes: number) => void) {
    this.#grant = grant;
  }

  /** Bytes of the stream that have come in, part of a message or not. */
  received(bytes: number): void {
    this.#withheld += bytes;
    this.#release();
  }

  push(message: Buffer): void {
    if (this.#stopped) return;
    this.#messages.push(message);
    this.#waitingBytes += message.length;
    this.#wake?.();
  }

  /** No more: with a failure that the reader is thrown after what came before it. */
  end(end: { readonly failure?: unknown } = {}): void {
    this.#end ??= end;
    this.#wake?.();
  }

  async next(): Promise<IteratorResult<Buffer, undefined>> {
    while (this.#messages.length === 0) {
      if (this.#end && 'failure' in this.#end) throw this.#end.failure;
      if (this.#end || this.#stopped) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    const value = this.#messages.shift() as Buffer;
    this.#waitingBytes -= value.length;
    this.#release();
    return { done: false, value };
  }

  /** The handler takes no more: what still comes is passed over. */
  async return(): Promise<IteratorResult<Buffer, undefined>> {
    this.#stopped = true;
    this.#messages = [];
    this.#waitingBytes = 0;
    this.#release();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #release(): void {
    if (this.#withheld === 0 || this.#waitingBytes >= waitingBytesMax) return;
    this.#grant(this.#withheld);
    this.#withheld = 0;
  }
}
