import type { Socket } from 'node:net';
import { createFrameReader } from './frame-reader.ts';
import { FrameWriter } from './frame-writer.ts';
import { ConnectionError, ErrorCode, Flag, Frame, initialWindow, preface, Setting, windowMax } from './frames.ts';
import { type DecodedBlock, HpackDecoder } from './hpack-decoder.ts';
import { Stream, type StreamConnection } from './stream.ts';

/** What one connection may take of the server; beyond it streams are refused or the connection waits. */
export const connectionLimits = {
  /** Calls that are worked on, those that the peer has reset included. */
  streamsMax: 1_000,
  /** Bytes of a stream that nobody has taken. */
  streamWindow: 256 * 1024,
  connectionWindow: 16 * 2 ** 20,
  headerTableBytes: 4_096,
  headerListBytes: 16 * 1024,
  /** Bytes that the peer does not read; beyond it nothing more is read from it. */
  unsentBytesMax: 4 * 2 ** 20,
} as const;

export type ConnectionOptions<Head> = {
  /** The headers of a call, read; equal blocks of headers are read once. */
  readonly readHead: (block: DecodedBlock) => Head;
  /** A call begins. The stream's receiver is to be set now. */
  readonly onStream: (stream: Stream, head: Head) => void;
  readonly onClose: (error: Error | undefined) => void;
};

/** The server's side of an HTTP/2 connection with prior knowledge. */
export class Connection<Head = unknown> implements StreamConnection {
  readonly writer: FrameWriter;
  readonly peer: string;
  sendWindow: number = initialWindow;
  readonly #socket: Socket;
  readonly #options: ConnectionOptions<Head>;
  readonly #hpack = new HpackDecoder({
    tableBytesMax: connectionLimits.headerTableBytes,
    listBytesMax: connectionLimits.headerListBytes,
  });
  readonly #streams = new Map<number, Stream>();
  readonly #waiting = new Set<Stream>();
  #known: { readonly block: Buffer; readonly version: number; readonly head: Head } | undefined;
  #peerStreamWindow = initialWindow;
  #receiveWindow: number = connectionLimits.connectionWindow;
  #lastStream = 0;
  #streamCount = 0;
  #settled = false;
  #leaving = false;
  #paused = false;
  #owesDrain = false;

  constructor(socket: Socket, options: ConnectionOptions<Head>) {
    this.#socket = socket;
    this.#options = options;
    this.peer = `${socket.remoteAddress ?? ''}:${socket.remotePort ?? ''}`;
    this.writer = new FrameWriter(socket, () => this.#tellDrained());
    this.writer.settings([
      [Setting.MAX_CONCURRENT_STREAMS, connectionLimits.streamsMax],
      [Setting.INITIAL_WINDOW_SIZE, connectionLimits.streamWindow],
      [Setting.MAX_HEADER_LIST_SIZE, connectionLimits.headerListBytes],
    ]);
    this.writer.number(Frame.WINDOW_UPDATE, 0, connectionLimits.connectionWindow - initialWindow);
    const read = createFrameReader(preface, (type, flags, stream, payload) =>
      this.#onFrame(type, flags, stream, payload),
    );
    socket.setNoDelay(true);
    socket.setKeepAlive(true, 60_000);
    const unsettled = setTimeout(() => socket.destroy(), settlePatienceMs);
    socket.on('data', (chunk: Buffer) => {
      try {
        read(chunk);
        if (this.#settled) clearTimeout(unsettled);
        this.#holdBack();
      } catch (error) {
        this.#fail(error as Error);
      }
    });
    socket.on('drain', () => this.#onSocketDrain());
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(unsettled);
      this.#end(undefined);
    });
  }

  isBlocked(): boolean {
    const blocked = this.writer.waitingBytes > connectionLimits.unsentBytesMax / 4;
    this.#owesDrain ||= blocked;
    return blocked;
  }

  waitForWindow(stream: Stream): void {
    this.#waiting.add(stream);
  }

  forget(stream: Stream): void {
    this.#streams.delete(stream.id);
    this.#waiting.delete(stream);
  }

  released(): void {
    this.#streamCount--;
    if (this.#leaving) this.#endWhenIdle();
  }

  /** Takes no more calls; ends when those that run are answered. */
  leave(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    this.writer.goAway(this.#lastStream, ErrorCode.NO_ERROR);
    this.#endWhenIdle();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #endWhenIdle(): void {
    if (this.#streamCount > 0) return;
    this.writer.flush();
    this.#socket.end();
  }

  #onFrame(type: number, flags: number, id: number, payload: Buffer): void {
    if (!this.#settled && type !== Frame.SETTINGS) throw protocolError('the first frame is no SETTINGS');
    switch (type) {
      case Frame.DATA:
        this.#onData(flags, id, payload);
        break;
      case Frame.HEADERS:
        this.#onHeaders(flags, id, payload);
        break;
      case Frame.RST_STREAM:
        if (payload.length !== 4) throw sizeError('RST_STREAM');
        this.#openStream(id)?.lost();
        break;
      case Frame.SETTINGS:
        this.#onSettings(flags, id, payload);
        break;
      case Frame.PING:
        if (payload.length !== 8) throw sizeError('PING');
        if (id !== 0) throw protocolError('PING on a stream');
        if ((flags & Flag.ACK) === 0) this.writer.frame(Frame.PING, Flag.ACK, 0, payload);
        break;
      case Frame.WINDOW_UPDATE:
        this.#onWindowUpdate(id, payload);
        break;
      case Frame.PUSH_PROMISE:
        throw protocolError('PUSH_PROMISE from a client');
      default:
        // GOAWAY: its streams end by themselves; PRIORITY and what is not known mean nothing to us
        break;
    }
  }

  /** The stream, if it is open; a frame for one that was never opened is the peer's error. */
  #openStream(id: number): Stream | undefined {
    if (id === 0 || id > this.#lastStream || id % 2 === 0) {
      if (this.#leaving && id > this.#lastStream) return undefined;
      throw protocolError(`a frame on stream ${id}, which is not open`);
    }
    return this.#streams.get(id);
  }

  #onHeaders(flags: number, id: number, block: Buffer): void {
    if (id % 2 === 0) throw protocolError(`HEADERS on stream ${id}`);
    if (id <= this.#lastStream) {
      // trailers of a request: nothing in them means anything to gRPC
      this.#hpack.decode(block);
      const stream = this.#streams.get(id);
      if (stream && !stream.remoteEnded) {
        if ((flags & Flag.END_STREAM) === 0) throw protocolError('trailers that do not end their stream');
        stream.ended();
      }
      return;
    }
    const head = this.#readHead(block);
    if (this.#leaving) return;
    this.#lastStream = id;
    if (this.#streamCount >= connectionLimits.streamsMax) {
      this.writer.number(Frame.RST_STREAM, id, ErrorCode.REFUSED_STREAM);
      return;
    }
    const windows = { send: this.#peerStreamWindow, receive: connectionLimits.streamWindow };
    const stream = new Stream(this, id, windows);
    this.#streamCount++;
    this.#streams.set(id, stream);
    this.#options.onStream(stream, head);
    if ((flags & Flag.END_STREAM) !== 0) stream.ended();
  }

  #readHead(block: Buffer): Head {
    const known = this.#known;
    const { version } = this.#hpack;
    if (known && known.version === version && known.block.equals(block)) return known.head;
    const head = this.#options.readHead(this.#hpack.decode(block));
    if (this.#hpack.version === version) this.#known = { block: Buffer.from(block), version, head };
    return head;
  }

  #onData(flags: number, id: number, payload: Buffer): void {
    // padding counts for flow control, too
    const bytes = payload.length;
    this.#receiveWindow -= bytes;
    if (this.#receiveWindow < 0) throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'DATA beyond the window');
    if (this.#receiveWindow < connectionLimits.connectionWindow / 2) {
      this.writer.number(Frame.WINDOW_UPDATE, 0, connectionLimits.connectionWindow - this.#receiveWindow);
      this.#receiveWindow = connectionLimits.connectionWindow;
    }
    const stream = this.#openStream(id);
    if (!stream) return;
    stream.receiveWindow -= bytes;
    if (stream.remoteEnded || stream.receiveWindow < 0) {
      stream.break(stream.remoteEnded ? ErrorCode.STREAM_CLOSED : ErrorCode.FLOW_CONTROL_ERROR);
      return;
    }
    const data = unpadded(flags, payload);
    if (data.length < bytes) stream.grant(bytes - data.length);
    stream.received(data, flags);
  }

  #onSettings(flags: number, id: number, payload: Buffer): void {
    if (id !== 0) throw protocolError('SETTINGS on a stream');
    if ((flags & Flag.ACK) !== 0) {
      if (payload.length > 0) throw sizeError('SETTINGS');
      return;
    }
    if (payload.length % 6 !== 0) throw sizeError('SETTINGS');
    this.#settled = true;
    for (let at = 0; at < payload.length; at += 6) {
      if (payload.readUInt16BE(at) !== Setting.INITIAL_WINDOW_SIZE) continue;
      const window = payload.readUInt32BE(at + 2);
      if (window > windowMax) throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'a window of 2 GiB');
      const more = window - this.#peerStreamWindow;
      this.#peerStreamWindow = window;
      for (const stream of [...this.#streams.values()]) {
        stream.sendWindow += more;
        if (more > 0) stream.pump();
      }
    }
    this.writer.frame(Frame.SETTINGS, Flag.ACK, 0, nothing);
  }

  #onWindowUpdate(id: number, payload: Buffer): void {
    if (payload.length !== 4) throw sizeError('WINDOW_UPDATE');
    const bytes = payload.readUInt32BE(0) & windowMax;
    if (id === 0) {
      if (bytes === 0) throw protocolError('WINDOW_UPDATE of nothing');
      this.sendWindow += bytes;
      if (this.sendWindow > windowMax) throw new ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, 'a window of 2 GiB');
      const waiting = [...this.#waiting];
      this.#waiting.clear();
      for (const stream of waiting) stream.pump();
      return;
    }
    const stream = this.#openStream(id);
    if (!stream) return;
    stream.sendWindow += bytes;
    if (bytes === 0) stream.break(ErrorCode.PROTOCOL_ERROR);
    else if (stream.sendWindow > windowMax) stream.break(ErrorCode.FLOW_CONTROL_ERROR);
    else stream.pump();
  }

  #holdBack(): void {
    if (this.#paused || this.writer.waitingBytes < connectionLimits.unsentBytesMax) return;
    this.#paused = true;
    this.#socket.pause();
  }

  #onSocketDrain(): void {
    if (this.#paused) this.#socket.resume();
    this.#paused = false;
    this.#tellDrained();
  }

  #tellDrained(): void {
    if (!this.#owesDrain || this.isBlocked()) return;
    this.#owesDrain = false;
    for (const stream of [...this.#streams.values()]) stream.receiver?.onDrain();
  }

  #fail(error: Error): void {
    const code = error instanceof ConnectionError ? error.code : ErrorCode.INTERNAL_ERROR;
    this.writer.goAway(this.#lastStream, code, error.message);
    this.writer.flush();
    this.#socket.destroySoon();
    this.#end(error);
  }

  #end(error: Error | undefined): void {
    for (const stream of [...this.#streams.values()]) stream.lost();
    this.#options.onClose(error);
  }
}

/** A connection that has not said its first words by then is closed. */
const settlePatienceMs = 10_000;
const nothing: Buffer = Buffer.alloc(0);

function unpadded(flags: number, payload: Buffer): Buffer {
  if ((flags & Flag.PADDED) === 0) return payload;
  const padding = payload[0];
  if (padding === undefined || padding >= payload.length) throw protocolError('more padding than frame');
  return payload.subarray(1, payload.length - padding);
}

function protocolError(what: string): ConnectionError {
  return new ConnectionError(ErrorCode.PROTOCOL_ERROR, what);
}

function sizeError(frame: string): ConnectionError {
  return new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `${frame} of a wrong length`);
}
