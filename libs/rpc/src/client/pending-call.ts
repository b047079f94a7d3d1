import { MeshError } from '@millrace/kernel';
import { fromStatusFields } from '../status.ts';
import type { ClientConnection, ConnectionCall } from './client-connection.ts';

export type CallTarget = { readonly path: string; readonly address: string };

const prefixBytes = 5;

/** One call, from its request to the message of its answer or its error. */
export class PendingCall implements ConnectionCall {
  readonly head: Buffer;
  readonly request: Buffer;
  /** The connection that it was last given to. */
  carrier: ClientConnection | undefined;
  readonly #target: CallTarget;
  readonly #maxBytes: number;
  readonly #retry: (call: PendingCall) => void;
  readonly #settle: (error: MeshError | undefined, message: Buffer) => void;
  #settled = false;
  #isRetried = false;
  #parts: Buffer[] = [];
  #bytes = 0;
  #status: string | undefined;
  #httpStatus = '200';
  #message = '';
  #details: string | undefined;

  constructor(parts: {
    readonly head: Buffer;
    readonly request: Buffer;
    readonly target: CallTarget;
    readonly maxBytes: number;
    readonly retry: (call: PendingCall) => void;
    readonly settle: (error: MeshError | undefined, message: Buffer) => void;
  }) {
    this.head = parts.head;
    this.request = parts.request;
    this.#target = parts.target;
    this.#maxBytes = parts.maxBytes;
    this.#retry = parts.retry;
    this.#settle = parts.settle;
  }

  get settled(): boolean {
    return this.#settled;
  }

  onFields(fields: readonly string[]): void {
    for (let i = 0; i < fields.length; i += 2) {
      const value = fields[i + 1] as string;
      switch (fields[i]) {
        case 'grpc-status':
          this.#status = value;
          break;
        case 'grpc-message':
          this.#message = value;
          break;
        case 'grpc-status-details-bin':
          this.#details = value;
          break;
        case ':status':
          this.#httpStatus = value;
          break;
      }
    }
  }

  onData(bytes: Buffer): boolean {
    if (bytes.length === 0) return true;
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes <= prefixBytes + this.#maxBytes) return true;
    this.fail(
      new MeshError(
        'LIMIT_EXCEEDED',
        `the answer of ${this.#target.path} is larger than the limit of ${this.#maxBytes} bytes; ask for less at once`,
        { ...this.#target, limit: this.#maxBytes },
      ),
    );
    return false;
  }

  onEnd(): void {
    if (this.#status !== '0') {
      const code = this.#status === undefined ? (httpCodes[this.#httpStatus] ?? 2) : Number(this.#status);
      const message = this.#status === undefined ? `HTTP status ${this.#httpStatus} without gRPC's` : this.#message;
      this.fail(fromStatusFields({ code, message: decoded(message), details: this.#details }, this.#target));
      return;
    }
    const all = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
    const isWhole = all.length >= prefixBytes && all[0] === 0 && all.readUInt32BE(1) === all.length - prefixBytes;
    if (!isWhole) this.#failWith('INTERNAL', 'the answer is not one uncompressed message');
    else this.#end(undefined, all.subarray(prefixBytes));
  }

  onRefused(): void {
    if (this.#settled) return;
    if (this.#isRetried) this.onReset('the server takes no calls');
    else {
      this.#isRetried = true;
      this.#retry(this);
    }
  }

  onReset(why: string): void {
    this.#failWith('SERVICE_UNAVAILABLE', why);
  }

  fail(error: MeshError): void {
    this.#end(error, nothing);
  }

  #failWith(reason: 'INTERNAL' | 'SERVICE_UNAVAILABLE', why: string): void {
    const { path, address } = this.#target;
    this.fail(new MeshError(reason, `${path} at "${address}": ${why}`, { ...this.#target }));
  }

  #end(error: MeshError | undefined, message: Buffer): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#settle(error, message);
  }
}

const nothing: Buffer = Buffer.alloc(0);

/** gRPC's status for an answer that has none: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md */
const httpCodes: Readonly<Record<string, number>> = {
  '400': 13,
  '401': 16,
  '403': 7,
  '404': 12,
  '429': 14,
  '502': 14,
  '503': 14,
  '504': 14,
};

/** Status messages are percent-encoded; one that is not is taken as it is. */
function decoded(text: string): string {
  if (!text.includes('%')) return text;
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
