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

/** Where a context has it from. */
export interface CallSource {
  readonly head: { readonly caller: string | undefined; readonly fields: readonly string[] };
  readonly deadlineMs: number | undefined;
  readonly peer: string;
  onCancel(listener: () => void): void;
}

/** Costs nothing for what a handler does not ask for. */
export class LazyCallContext implements CallContext {
  readonly #call: CallSource;
  #aborter: AbortController | undefined;

  constructor(call: CallSource) {
    this.#call = call;
  }

  get signal(): AbortSignal {
    if (!this.#aborter) {
      const aborter = new AbortController();
      this.#call.onCancel(() =>
        aborter.abort(new MeshError('CANCELLED', 'the caller cancelled or its deadline has passed')),
      );
      this.#aborter = aborter;
    }
    return this.#aborter.signal;
  }

  get deadlineMs(): number | undefined {
    return this.#call.deadlineMs;
  }

  get peer(): string {
    return this.#call.peer;
  }

  get caller(): string {
    const given = this.#call.head.caller;
    if (given !== undefined && given.length > 0) return given.slice(0, callerMax);
    const { peer } = this.#call;
    const port = peer.lastIndexOf(':');
    return port > 0 ? peer.slice(0, port) : peer;
  }

  get metadata(): ReadonlyMap<string, string> {
    const metadata = new Map<string, string>();
    const { fields } = this.#call.head;
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i] as string;
      const value = fields[i + 1] as string;
      if (!name.startsWith(':')) metadata.set(name, name.endsWith('-bin') ? fromBase64(value) : value);
    }
    return metadata;
  }

  get traceparent(): string | undefined {
    const { fields } = this.#call.head;
    for (let i = 0; i < fields.length; i += 2) if (fields[i] === 'traceparent') return fields[i + 1];
    return undefined;
  }
}

/** Binary metadata: repeated values may come in one field, between commas. */
function fromBase64(value: string): string {
  return Buffer.from(value.slice(value.lastIndexOf(',') + 1), 'base64').toString();
}
