import type { Socket } from 'node:net';
import { createFrameReader } from '../h2/frame-reader.ts';
import { FrameWriter } from '../h2/frame-writer.ts';
import {
  ConnectionError,
  ErrorCode,
  Flag,
  Frame,
  frameBytesMax,
  initialWindow,
  preface,
  Setting,
  windowMax,
} from '../h2/frames.ts';
import { HpackDecoder } from '../h2/hpack-decoder.ts';

/** What a connection asks of a call that it carries. */
export type ConnectionCall = {
  readonly head: Buffer;
  /** With gRPC's prefix. */
  readonly request: Buffer;
  /** The fields of a header block, of the answer's head or of its trailers. */
  onFields(fields: readonly string[]): void;
  /** False: more than the call takes. */
  onData(bytes: Buffer): boolean;
  onEnd(): void;
  /** The peer has not begun with the call: another connection may carry it. */
  onRefused(): void;
  /** `lost`: the connection is gone. */
  onReset(why: string): void;
};

type Sending = { readonly call: ConnectionCall; readonly id: number; sent: number; window: number };

const headerListBytes = 64 * 1024;
/** Consumed bytes of the connection's window before the peer may send as many again. */
const grantBytes = 16 * 2 ** 20;
const nothing: Buffer = Buffer.alloc(0);

/** The client's side of an HTTP/2 connection with prior knowledge, for calls of one request and one answer. */
export class ClientConnection {
  readonly #socket: Socket;
  readonly #writer: FrameWriter;
  readonly #onClose: () => void;
  readonly #hpack = new HpackDecoder({ tableBytesMax: 4_096, listBytesMax: headerListBytes });
  readonly #streams = new Map<number, Sending>();
  /** Those whose request has not left. */
  #blocked: Sending[] = [];
  #waiting: ConnectionCall[] = [];
  #known: { readonly block: Buffer; readonly version: number; readonly fields: readonly string[] }[] = [];
  #sendWindow: number = initialWindow;
  #peerStreamWindow: number = initialWindow;
  #streamsMax = 100;
  #consumed = 0;
  #nextId = 1;
  #leaving = false;

  constructor(socket: Socket, onClose: () => void) {
    this.#socket = socket;
    this.#onClose = onClose;
    socket.write(preface);
    this.#writer = new FrameWriter(socket, () => {});
    // answers are limited by their length, which their prefix says
    this.#writer.settings([
      [Setting.ENABLE_PUSH, 0],
      [Setting.INITIAL_WINDOW_SIZE, windowMax],
      [Setting.MAX_HEADER_LIST_SIZE, headerListBytes],
    ]);
    this.#writer.number(Frame.WINDOW_UPDATE, 0, windowMax - initialWindow);
    const read = createFrameReader(nothing, (type, flags, id, payload) => this.#onFrame(type, flags, id, payload));
    socket.on('data', (chunk: Buffer) => {
      try {
        read(chunk);
      } catch (error) {
        const code = error instanceof ConnectionError ? error.code : ErrorCode.INTERNAL_ERROR;
        this.#writer.goAway(0, code, (error as Error).message);
        this.#writer.flush();
        socket.destroy();
      }
    });
    socket.on('close', () => this.#end());
  }

  /** Whether it takes new calls. */
  get open(): boolean {
    return !this.#leaving && !this.#socket.destroyed && this.#nextId < windowMax;
  }

  start(call: ConnectionCall): void {
    if (this.#streams.size >= this.#streamsMax) {
      this.#waiting.push(call);
      return;
    }
    const sending: Sending = { call, id: this.#nextId, sent: 0, window: this.#peerStreamWindow };
    this.#nextId += 2;
    this.#streams.set(sending.id, sending);
    this.#writer.headers(sending.id, call.head, false);
    if (this.#blocked.length > 0 || !this.#send(sending)) this.#blocked.push(sending);
  }

  cancel(call: ConnectionCall): void {
    this.#waiting = this.#waiting.filter((other) => other !== call);
    for (const sending of this.#streams.values()) {
      if (sending.call !== call) continue;
      this.#writer.number(Frame.RST_STREAM, sending.id, ErrorCode.CANCEL);
      this.#forget(sending);
      return;
    }
  }

  /** Ends when its calls have. */
  leave(): void {
    this.#leaving = true;
    if (this.#streams.size === 0) this.#socket.end();
  }

  /** Whether all of it has left. */
  #send(sending: Sending): boolean {
    const { request } = sending.call;
    while (sending.sent < request.length) {
      const bytes = Math.min(request.length - sending.sent, frameBytesMax, sending.window, this.#sendWindow);
      if (bytes <= 0) return false;
      const end = sending.sent + bytes === request.length ? Flag.END_STREAM : 0;
      this.#writer.frame(Frame.DATA, end, sending.id, request, sending.sent, sending.sent + bytes);
      sending.sent += bytes;
      sending.window -= bytes;
      this.#sendWindow -= bytes;
    }
    return true;
  }

  #sendBlocked(): void {
    if (this.#blocked.length > 0) this.#blocked = this.#blocked.filter((sending) => !this.#send(sending));
  }

  #onFrame(type: number, flags: number, id: number, payload: Buffer): void {
    switch (type) {
      case Frame.DATA:
        this.#onData(flags, id, payload);
        break;
      case Frame.HEADERS: {
        const fields = this.#fieldsOf(payload);
        const sending = this.#streams.get(id);
        sending?.call.onFields(fields);
        if (sending && (flags & Flag.END_STREAM) !== 0) this.#finish(sending);
        break;
      }
      case Frame.RST_STREAM:
        this.#onReset(id, payload.length === 4 ? payload.readUInt32BE(0) : ErrorCode.PROTOCOL_ERROR);
        break;
      case Frame.SETTINGS:
        if ((flags & Flag.ACK) === 0) this.#onSettings(payload);
        break;
      case Frame.PING:
        if ((flags & Flag.ACK) === 0) this.#writer.frame(Frame.PING, Flag.ACK, 0, payload);
        break;
      case Frame.GOAWAY:
        this.#onGoAway(payload.readUInt32BE(0) & windowMax);
        break;
      case Frame.WINDOW_UPDATE: {
        const bytes = payload.readUInt32BE(0) & windowMax;
        const sending = this.#streams.get(id);
        if (id === 0) this.#sendWindow += bytes;
        else if (sending) sending.window += bytes;
        this.#sendBlocked();
        break;
      }
      default:
        break;
    }
  }

  #onData(flags: number, id: number, payload: Buffer): void {
    this.#consumed += payload.length;
    if (this.#consumed >= grantBytes) {
      this.#writer.number(Frame.WINDOW_UPDATE, 0, this.#consumed);
      this.#consumed = 0;
    }
    const sending = this.#streams.get(id);
    if (!sending) return;
    const padding = (flags & Flag.PADDED) === 0 ? 0 : (payload[0] ?? 0) + 1;
    const from = padding > 0 ? 1 : 0;
    if (!sending.call.onData(payload.subarray(from, payload.length - padding + from))) this.cancel(sending.call);
    else if ((flags & Flag.END_STREAM) !== 0) this.#finish(sending);
  }

  #onReset(id: number, code: number): void {
    const sending = this.#streams.get(id);
    if (!sending) return;
    this.#forget(sending);
    if (code === ErrorCode.REFUSED_STREAM) sending.call.onRefused();
    else sending.call.onReset(`the stream was reset with code ${code}`);
  }

  #onSettings(payload: Buffer): void {
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2);
      const setting = payload.readUInt16BE(at);
      if (setting === Setting.MAX_CONCURRENT_STREAMS) this.#streamsMax = value;
      if (setting !== Setting.INITIAL_WINDOW_SIZE) continue;
      for (const sending of this.#streams.values()) sending.window += value - this.#peerStreamWindow;
      this.#peerStreamWindow = value;
    }
    this.#writer.frame(Frame.SETTINGS, Flag.ACK, 0, nothing);
    this.#sendBlocked();
    this.#startWaiting();
  }

  /** What the peer has not begun with goes elsewhere, the rest is answered here. */
  #onGoAway(lastId: number): void {
    this.#leaving = true;
    const refused = this.#waiting;
    this.#waiting = [];
    for (const sending of [...this.#streams.values()]) {
      if (sending.id <= lastId) continue;
      this.#forget(sending);
      refused.push(sending.call);
    }
    for (const call of refused) call.onRefused();
  }

  /** Blocks of headers repeat: one of the last two is decoded already. */
  #fieldsOf(block: Buffer): readonly string[] {
    const { version } = this.#hpack;
    for (const known of this.#known) if (known.version === version && known.block.equals(block)) return known.fields;
    const { fields } = this.#hpack.decode(block);
    if (this.#hpack.version === version)
      this.#known = [{ block: Buffer.from(block), version, fields }, ...this.#known.slice(0, 1)];
    return fields;
  }

  #finish(sending: Sending): void {
    // an error may come before all of the request has left
    if (sending.sent < sending.call.request.length)
      this.#writer.number(Frame.RST_STREAM, sending.id, ErrorCode.NO_ERROR);
    this.#forget(sending);
    sending.call.onEnd();
  }

  #forget(sending: Sending): void {
    this.#streams.delete(sending.id);
    if (this.#blocked.length > 0) this.#blocked = this.#blocked.filter((other) => other !== sending);
    if (this.#waiting.length > 0) this.#startWaiting();
    else if (this.#leaving && this.#streams.size === 0) this.#socket.end();
  }

  #startWaiting(): void {
    while (this.#waiting.length > 0 && this.#streams.size < this.#streamsMax)
      this.start(this.#waiting.shift() as ConnectionCall);
  }

  #end(): void {
    const calls = [...this.#streams.values()];
    this.#streams.clear();
    for (const { call } of calls) call.onReset('the connection was lost');
    for (const call of this.#waiting.splice(0)) call.onRefused();
    this.#onClose();
  }
}
