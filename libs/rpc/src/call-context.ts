import type { Metadata } from '@grpc/grpc-js';
import { MeshError } from '@millrace/kernel';

/** The metadata (and HTTP header) by which a caller names itself. */
export const callerHeader = 'x-millrace-caller';
export const callerMax = 64;

/** What a handler may know about its call. */
export interface CallContext {
  /** Aborts when the caller cancels or its deadline passes. */
  readonly signal: AbortSignal;
  /** Epoch milliseconds; undefined when the caller set none. */
  readonly deadlineMs: number | undefined;
  readonly peer: string;
  /** Who calls: what it says of itself in `x-millrace-caller`, up to 64 characters, else its host. Not proven: for limits and counts. */
  readonly caller: string;
  /** Text metadata of the call; the last value of a repeated key. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The W3C traceparent that the call came with. */
  readonly traceparent: string | undefined;
}

export interface ServerCall {
  readonly metadata: Metadata;
  getDeadline(): Date | number;
  getPeer(): string;
  readonly cancelled: boolean;
  on(event: 'cancelled', listener: () => void): unknown;
}

/** Costs nothing for what a handler does not ask for. */
export class LazyCallContext implements CallContext {
  readonly #call: ServerCall;
  #aborter: AbortController | undefined;

  constructor(call: ServerCall) {
    this.#call = call;
  }

  get signal(): AbortSignal {
    if (!this.#aborter) {
      const aborter = new AbortController();
      const abort = () => aborter.abort(new MeshError('CANCELLED', 'the caller cancelled or its deadline has passed'));
      if (this.#call.cancelled) abort();
      else this.#call.on('cancelled', abort);
      this.#aborter = aborter;
    }
    return this.#aborter.signal;
  }

  get deadlineMs(): number | undefined {
    const deadline = this.#call.getDeadline();
    const ms = typeof deadline === 'number' ? deadline : deadline.getTime();
    return Number.isFinite(ms) ? ms : undefined;
  }

  get peer(): string {
    return this.#call.getPeer();
  }

  get caller(): string {
    const given = this.#call.metadata.get(callerHeader)[0];
    if (given !== undefined && given.length > 0) return String(given).slice(0, callerMax);
    const peer = this.#call.getPeer();
    const port = peer.lastIndexOf(':');
    return port > 0 ? peer.slice(0, port) : peer;
  }

  get metadata(): ReadonlyMap<string, string> {
    return new Map(Object.entries(this.#call.metadata.getMap()).map(([key, value]) => [key, value.toString()]));
  }

  get traceparent(): string | undefined {
    return this.#call.metadata.get('traceparent')[0]?.toString();
  }
}
