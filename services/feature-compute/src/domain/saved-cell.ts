/** How a cell is stored: `[position f64][known time f64][encoded entity state]`, little-endian. */
const headerBytes = 16;
const noBytes = Buffer.alloc(0);

/** `encodeState` writes the state into what it asks for, as many bytes as it says. */
export function encodeSavedCell(
  position: number,
  knownTimeUs: number,
  encodeState: (allocate: (bytes: number) => Buffer) => void,
  take: (bytes: number) => Buffer,
): Buffer {
  let saved: Buffer = noBytes;
  encodeState((bytes) => {
    saved = take(headerBytes + bytes);
    return saved.subarray(headerBytes);
  });
  saved.writeDoubleLE(position, 0);
  saved.writeDoubleLE(knownTimeUs, 8);
  return saved;
}

export function decodeSavedCell(bytes: Buffer): { position: number; knownTimeUs: number; state: Buffer } {
  return {
    position: bytes.readDoubleLE(0),
    knownTimeUs: bytes.readDoubleLE(8),
    state: bytes.subarray(headerBytes),
  };
}
