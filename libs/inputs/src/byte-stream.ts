import { createReadStream } from 'node:fs';
import { type Duplex, PassThrough, pipeline, Transform } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import type { Compression } from './format.ts';

export interface ByteStream {
  readonly stream: Duplex;
  /** Bytes of the file itself so far. */
  bytesRead(): number;
}

/** The unpacked bytes of a file, read no faster than they are taken; a failure of any part fails the stream. */
export function openBytes(path: string, compression: Compression): ByteStream {
  let bytes = 0;
  const counting = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      done(null, chunk);
    },
  });
  const unpack = unpacker(compression);
  // Its callback is for the clean-up alone: who reads `unpack` gets the error.
  pipeline(createReadStream(path), counting, unpack, () => {});
  return { stream: unpack, bytesRead: () => bytes };
}

function unpacker(compression: Compression): Duplex {
  switch (compression) {
    case 'none':
      return new PassThrough();
    case 'gzip':
      return createGunzip();
    case 'zstd':
      return createZstdDecompress();
    default:
      return compression satisfies never;
  }
}
