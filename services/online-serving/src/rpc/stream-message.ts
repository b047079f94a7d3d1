import { rpcStatus } from '@millrace/contracts';
import { lengthEnd, type Reader, skip, varint } from '@millrace/rpc';
import { encodeMatrix, type Matrix } from '../domain/matrix.ts';
import { encodeField, fieldSize, openField } from '../domain/wire.ts';

/** One read of a stream, as it came: what is wrong inside the read is that read's failure and not the stream's. */
export type StreamRead = {
  /** The field `id` with its tag, or nothing: it goes into the answer as it is. */
  readonly id: Buffer;
  /** A GetFeaturesRequest. */
  readonly read: Buffer;
  /** 0: until the call's deadline. */
  readonly timeoutMs: number;
};

export type StreamAnswer = { readonly id: Buffer } & (
  | { readonly matrix: Matrix }
  | { readonly error: rpcStatus.Status }
);

/** A millrace.serving.v1.StreamFeaturesRequest. */
export function decodeStreamRead(bytes: Buffer): StreamRead {
  const reader: Reader = { bytes, at: 0, end: bytes.length };
  let id: Buffer = nothing;
  let read: Buffer | undefined;
  let timeoutMs = 0;
  while (reader.at < reader.end) {
    const start = reader.at;
    const tag = varint(reader);
    switch (tag) {
      case 0x08:
        varint(reader);
        id = bytes.subarray(start, reader.at);
        break;
      case 0x12: {
        const end = lengthEnd(reader);
        const part = bytes.subarray(reader.at, end);
        // a message in two parts is, by protobuf's rules, one after the other
        read = read ? Buffer.concat([read, part]) : part;
        reader.at = end;
        break;
      }
      case 0x18:
        timeoutMs = varint(reader);
        break;
      default:
        skip(reader, tag);
    }
  }
  return { id, read: read ?? nothing, timeoutMs };
}

/** A millrace.serving.v1.StreamFeaturesResponse; the answer of GetFeatures is in it byte for byte. */
export function encodeStreamAnswer(answer: StreamAnswer): Buffer {
  if ('error' in answer) {
    return Buffer.concat([answer.id, encodeField(3, Buffer.from(rpcStatus.Status.encode(answer.error).finish()))]);
  }
  const features = encodeMatrix(answer.matrix);
  const bytes = Buffer.allocUnsafe(answer.id.length + fieldSize(features.length));
  answer.id.copy(bytes);
  features.copy(bytes, openField(bytes, answer.id.length, 2, features.length));
  return bytes;
}

const nothing = Buffer.alloc(0);
