import type { Entry, Part, Parts } from './cells/cell.ts';

/**
 * Parts as bytes, little-endian, one after the other. A u32 says what follows in its upper two bits and how many in the rest: the bytes of a
 * text in UTF-8 (0), doubles (1), bytes (2) or entries (3): five doubles, the u32 length of a text, and the text. Nothing at all is an empty text.
 */
const kindOfText = 0;
const kindOfNumbers = 1;
const kindOfBytes = 2;
const kindOfEntries = 3;
const countBits = 30;
/** An entry without its text. */
const entryBytes = 44;

export function partsBytes(parts: Parts): number {
  let size = 0;
  for (const part of parts) size += 4 + bytesOf(part);
  return size;
}

function bytesOf(part: Part): number {
  if (part === null) return 0;
  if (typeof part === 'string') return Buffer.byteLength(part);
  if ('list' in part) return part.list.reduce((sum, { text }) => sum + entryBytes + Buffer.byteLength(text), 0);
  return part instanceof Uint8Array ? part.length : 8 * part.length;
}

/** Writes each cell's parts where the last ones ended. */
export function writeParts(out: Buffer, start: number): (parts: Parts) => void {
  let at = start;
  const head = (kind: number, count: number) => {
    out.writeUInt32LE(kind * 2 ** countBits + count, at);
  };
  return (parts) => {
    for (const part of parts) {
      if (part === null || typeof part === 'string') {
        const length = part === null ? 0 : out.write(part, at + 4);
        head(kindOfText, length);
        at += 4 + length;
      } else if (part instanceof Uint8Array) {
        head(kindOfBytes, part.length);
        out.set(part, at + 4);
        at += 4 + part.length;
      } else if ('list' in part) {
        head(kindOfEntries, part.list.length);
        at += 4;
        for (const entry of part.list) at = writeEntry(out, at, entry);
      } else {
        head(kindOfNumbers, part.length);
        for (let i = 0; i < part.length; i++) out.writeDoubleLE(part[i] as number, at + 4 + 8 * i);
        at += 4 + 8 * part.length;
      }
    }
  };
}

/** Fills parts from where the last ones ended. */
export function createPartsReader(bytes: Buffer, start: number): (parts: Parts) => void {
  let at = start;
  const next = (): Part => {
    const given = bytes.readUInt32LE(at);
    const kind = Math.floor(given / 2 ** countBits);
    const count = given % 2 ** countBits;
    const from = at + 4;
    if (kind === kindOfEntries) {
      at = from;
      return { list: Array.from({ length: count }, nextEntry) };
    }
    at = from + (kind === kindOfNumbers ? 8 * count : count);
    if (kind === kindOfText) return count === 0 ? null : bytes.toString('utf8', from, at);
    if (kind === kindOfBytes) return Uint8Array.prototype.slice.call(bytes, from, at);
    return Array.from({ length: count }, (_, i) => bytes.readDoubleLE(from + 8 * i));
  };
  const nextEntry = (): Entry => {
    const from = at;
    const number = (place: number) => bytes.readDoubleLE(from + 8 * place);
    at = from + entryBytes + bytes.readUInt32LE(from + 40);
    const text = bytes.toString('utf8', from + entryBytes, at);
    return { x: number(0), y: number(1), z: number(2), a: number(3), b: number(4), text };
  };
  return (parts) => {
    for (let i = 0; i < parts.length; i++) parts[i] = next();
  };
}

/** Returns where it ends. */
function writeEntry(out: Buffer, at: number, { x, y, z, a, b, text }: Entry): number {
  for (const [i, number] of [x, y, z, a, b].entries()) out.writeDoubleLE(number, at + 8 * i);
  const length = out.write(text, at + entryBytes);
  out.writeUInt32LE(length, at + 40);
  return at + entryBytes + length;
}
