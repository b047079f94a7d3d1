import { gunzipSync, inflateSync } from 'node:zlib';
import { MeshError } from '@millrace/kernel';

const prefixBytes = 5;

/** Cuts the bytes of a stream into gRPC messages. Throws LIMIT_EXCEEDED before a message that is too long comes in, MALFORMED_PAYLOAD. */
export class MessageReader {
  readonly #maxBytes: number;
  readonly #encoding: string;
  #parts: Buffer[] = [];
  #bytes = 0;
  #wanted = prefixBytes;

  constructor(options: { readonly maxBytes: number; readonly encoding: string }) {
    this.#maxBytes = options.maxBytes;
    this.#encoding = options.encoding;
  }

  /** Something of a message has come and not all. */
  get partial(): boolean {
    return this.#bytes > 0;
  }

  push(bytes: Buffer, take: (message: Buffer) => void): void {
    if (bytes.length === 0) return;
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
    while (this.#bytes >= this.#wanted) {
      const all = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
      const end = prefixBytes + this.#lengthOf(all);
      this.#wanted = end;
      this.#parts = [all];
      if (all.length < end) return;
      const message = all.subarray(prefixBytes, end);
      this.#parts = all.length > end ? [all.subarray(end)] : [];
      this.#bytes = all.length - end;
      this.#wanted = prefixBytes;
      take(all[0] === 1 ? this.#inflated(message) : message);
    }
  }

  #lengthOf(bytes: Buffer): number {
    const flag = bytes[0] as number;
    if (flag > 1) throw malformed(`a message begins with byte ${flag}`);
    const length = bytes.readUInt32BE(1);
    if (length > this.#maxBytes) throw tooLong(`of ${length} bytes`, length, this.#maxBytes);
    return length;
  }

  #inflated(message: Buffer): Buffer {
    const options = { maxOutputLength: this.#maxBytes };
    try {
      if (this.#encoding === 'gzip') return gunzipSync(message, options);
      if (this.#encoding === 'deflate') return inflateSync(message, options);
    } catch (cause) {
      if (cause instanceof RangeError) throw tooLong('that inflates beyond the limit', message.length, this.#maxBytes);
      throw malformed(`a message is no ${this.#encoding}`, cause);
    }
    throw malformed('a message is compressed and the call names no grpc-encoding');
  }
}

function tooLong(what: string, bytes: number, limit: number): MeshError {
  return new MeshError(
    'LIMIT_EXCEEDED',
    `received a message ${what}, larger than the limit of ${limit}; send less at once`,
    {
      bytes,
      limit,
    },
  );
}

function malformed(what: string, cause?: unknown): MeshError {
  return new MeshError('MALFORMED_PAYLOAD', `the request is not gRPC's framing: ${what}`, {}, { cause });
}
