import { ConnectionError, ErrorCode, Flag, Frame, frameBytesMax, frameHeadBytes } from './frames.ts';

/** `payload` is a part of what was read; of HEADERS it is the whole block, without padding and priority. */
export type OnFrame = (type: number, flags: number, stream: number, payload: Buffer) => void;

/** A header block of more bytes ends the connection, however many CONTINUATION frames it comes in. */
const blockBytesMax = 64 * 1024;
const none: Buffer = Buffer.alloc(0);

/** Cuts what a socket reads into frames, after the client's preface. Throws a ConnectionError. */
export function createFrameReader(preface: Buffer, onFrame: OnFrame): (chunk: Buffer) => void {
  let rest: Buffer = none;
  let greeted = false;
  let open: { readonly stream: number; readonly flags: number; readonly parts: Buffer[]; bytes: number } | undefined;

  function frame(type: number, flags: number, stream: number, payload: Buffer): void {
    if (open ? type !== Frame.CONTINUATION || stream !== open.stream : type === Frame.CONTINUATION)
      throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'a header block that other frames interrupt');
    if (type === Frame.HEADERS && (flags & Flag.END_HEADERS) === 0) {
      const block = blockOf(flags, payload);
      open = { stream, flags, parts: [Buffer.from(block)], bytes: block.length };
    } else if (type === Frame.HEADERS) onFrame(type, flags, stream, blockOf(flags, payload));
    else if (open) {
      open.parts.push(Buffer.from(payload));
      // an empty frame costs, too
      open.bytes += payload.length + frameHeadBytes;
      if (open.bytes > blockBytesMax)
        throw new ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, `a header block of more than ${blockBytesMax} bytes`);
      if ((flags & Flag.END_HEADERS) === 0) return;
      const { parts, flags: first } = open;
      open = undefined;
      onFrame(Frame.HEADERS, first, stream, Buffer.concat(parts));
    } else onFrame(type, flags, stream, payload);
  }

  return (chunk) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    if (!greeted) {
      const told = Math.min(bytes.length, preface.length);
      if (preface.compare(bytes, 0, told, 0, told) !== 0)
        throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'this port speaks gRPC over HTTP/2 with prior knowledge');
      greeted = told === preface.length;
      at = greeted ? told : 0;
    }
    while (greeted && bytes.length - at >= frameHeadBytes) {
      const length = ((bytes[at] as number) << 16) | ((bytes[at + 1] as number) << 8) | (bytes[at + 2] as number);
      if (length > frameBytesMax) throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `a frame of ${length} bytes`);
      const end = at + frameHeadBytes + length;
      if (end > bytes.length) break;
      const stream =
        (((bytes[at + 5] as number) & 0x7f) << 24) |
        ((bytes[at + 6] as number) << 16) |
        ((bytes[at + 7] as number) << 8) |
        (bytes[at + 8] as number);
      frame(bytes[at + 3] as number, bytes[at + 4] as number, stream, bytes.subarray(at + frameHeadBytes, end));
      at = end;
    }
    rest = at === bytes.length ? none : bytes.subarray(at);
  };
}

function blockOf(flags: number, payload: Buffer): Buffer {
  const padded = (flags & Flag.PADDED) !== 0;
  const from = (padded ? 1 : 0) + ((flags & Flag.PRIORITY) !== 0 ? 5 : 0);
  const to = payload.length - (padded ? (payload[0] ?? payload.length) : 0);
  if (from > to) throw new ConnectionError(ErrorCode.PROTOCOL_ERROR, 'more padding than frame');
  return payload.subarray(from, to);
}
