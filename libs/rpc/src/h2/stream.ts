import type { FrameWriter } from './frame-writer.ts';
import { ErrorCode, Flag, Frame, frameBytesMax } from './frames.ts';

/** As much of its connection as a stream needs. */
export type StreamConnection = {
  readonly writer: FrameWriter;
  readonly peer: string;
  sendWindow: number;
  /** The peer reads slower than it is written to. */
  isBlocked(): boolean;
  /** `pump` is to be called when the connection's window grows. */
  waitForWindow(stream: Stream): void;
  /** The stream is closed. */
  forget(stream: Stream): void;
  /** A stream is closed and nobody works for it. */
  released(): void;
};

/** What a stream tells the call that it carries. */
export type StreamReceiver = {
  /** Bytes of the request, good for ever; `ended`: there are no more. */
  onData(bytes: Buffer, ended: boolean): void;
  /** The peer has cancelled, or the connection is gone. */
  onReset(): void;
  /** What was sent has left, more is welcome. */
  onDrain(): void;
};

/** Bytes that a stream may hold until its writer should wait. */
const pendingBytesHigh = 64 * 1024;
const empty: Buffer = Buffer.alloc(0);

/** One stream of a connection, from its headers on. */
export class Stream {
  readonly id: number;
  receiver: StreamReceiver | undefined;
  /** The peer has sent all. */
  remoteEnded = false;
  /** All is sent, or nothing will be. */
  closed = false;
  /** Somebody still works for the stream, though it may be closed: it counts as one of the connection's. */
  working = false;
  sendWindow: number;
  receiveWindow: number;
  readonly #connection: StreamConnection;
  #pending: Buffer[] = [];
  #pendingFrom = 0;
  #pendingBytes = 0;
  #trailers: Buffer | undefined;

  constructor(connection: StreamConnection, id: number, windows: { readonly send: number; readonly receive: number }) {
    this.#connection = connection;
    this.id = id;
    this.sendWindow = windows.send;
    this.receiveWindow = windows.receive;
  }

  get peer(): string {
    return this.#connection.peer;
  }

  headers(block: Buffer): void {
    if (!this.closed) this.#connection.writer.headers(this.id, block, false);
  }

  /** False: wait for `onDrain` before more. */
  data(bytes: Buffer): boolean {
    if (this.closed) return true;
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    this.pump();
    return this.#pendingBytes < pendingBytesHigh && !this.#connection.isBlocked();
  }

  /** Ends the stream, after what it still holds. */
  trailers(block: Buffer): void {
    if (this.closed) return;
    this.#trailers = block;
    this.pump();
  }

  /** The peer has broken the rules of the stream, and of nothing else. */
  break(code: number): void {
    if (this.closed) return;
    this.#connection.writer.number(Frame.RST_STREAM, this.id, code);
    this.lost();
  }

  /** Lets the peer send so many bytes more. */
  grant(bytes: number): void {
    if (this.closed || this.remoteEnded || bytes === 0) return;
    this.receiveWindow += bytes;
    this.#connection.writer.number(Frame.WINDOW_UPDATE, this.id, bytes);
  }

  /** The call is done with: what the peer resets from now on costs nobody anything. */
  done(): void {
    if (!this.working) return;
    this.working = false;
    if (this.closed) this.#connection.released();
  }

  /** Sends what the windows of stream and connection allow. */
  pump(): void {
    const { writer } = this.#connection;
    while (this.#pending.length > 0) {
      const chunk = this.#pending[0] as Buffer;
      const bytes = Math.min(
        chunk.length - this.#pendingFrom,
        frameBytesMax,
        this.sendWindow,
        this.#connection.sendWindow,
      );
      if (bytes <= 0 && chunk.length > 0) {
        if (this.#connection.sendWindow <= 0) this.#connection.waitForWindow(this);
        return;
      }
      writer.frame(Frame.DATA, 0, this.id, chunk, this.#pendingFrom, this.#pendingFrom + bytes);
      this.sendWindow -= bytes;
      this.#connection.sendWindow -= bytes;
      this.#pendingBytes -= bytes;
      this.#pendingFrom += bytes;
      if (this.#pendingFrom < chunk.length) continue;
      this.#pending.shift();
      this.#pendingFrom = 0;
    }
    if (this.#trailers) {
      writer.headers(this.id, this.#trailers, true);
      // the peer need not send the rest of its request
      if (!this.remoteEnded) writer.number(Frame.RST_STREAM, this.id, ErrorCode.NO_ERROR);
      this.#close();
    } else if (!this.#connection.isBlocked()) this.receiver?.onDrain();
  }

  /** The peer has reset the stream, or is gone. */
  lost(): void {
    if (this.closed) return;
    this.#close();
    this.receiver?.onReset();
  }

  received(bytes: Buffer, flags: number): void {
    const ended = (flags & Flag.END_STREAM) !== 0;
    this.remoteEnded ||= ended;
    this.receiver?.onData(bytes, ended);
  }

  ended(): void {
    this.received(empty, Flag.END_STREAM);
  }

  #close(): void {
    this.closed = true;
    this.#pending = [];
    this.#trailers = undefined;
    this.#connection.forget(this);
    if (!this.working) this.#connection.released();
  }
}
