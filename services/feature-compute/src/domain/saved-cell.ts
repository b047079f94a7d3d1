/** How a cell is stored: `[position f64][known time f64][encoded entity state]`, little-endian. */
const headerBytes = 16;

export function encodeSavedCell(position: number, knownTimeUs: number, state: Buffer): Buffer {
  const bytes = Buffer.allocUnsafe(headerBytes + state.length);
  bytes.writeDoubleLE(position, 0);
  bytes.writeDoubleLE(knownTimeUs, 8);
  state.copy(bytes, headerBytes);
  return bytes;
}

export function decodeSavedCell(bytes: Buffer): { position: number; knownTimeUs: number; state: Buffer } {
  return {
    position: bytes.readDoubleLE(0),
    knownTimeUs: bytes.readDoubleLE(8),
    state: bytes.subarray(headerBytes),
  };
}
