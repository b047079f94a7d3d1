import { ConnectionError, ErrorCode } from './frames.ts';
import { huffmanBits } from './hpack-tables.ts';

const bitsMax = 30;
const endOfString = 256;

/** Codes of one length follow each other in the order of their symbols: the first code, how many, and where their symbols begin. */
const firstCode = new Int32Array(bitsMax + 1);
const codes = new Int32Array(bitsMax + 1);
const firstSymbol = new Int32Array(bitsMax + 1);
const symbols: readonly number[] = Array.from(huffmanBits, (_, symbol) => symbol).sort(
  (a, b) => (huffmanBits[a] as number) - (huffmanBits[b] as number) || a - b,
);
for (const bits of huffmanBits) codes[bits] = (codes[bits] as number) + 1;
for (let bits = 1; bits <= bitsMax; bits++) {
  firstCode[bits] = ((firstCode[bits - 1] as number) + (codes[bits - 1] as number)) << 1;
  firstSymbol[bits] = (firstSymbol[bits - 1] as number) + (codes[bits - 1] as number);
}

/** The text of a Huffman-coded string of HPACK, a character a byte. */
export function decodeHuffman(block: Buffer, start: number, end: number): string {
  let text = '';
  let code = 0;
  let bits = 0;
  for (let at = start; at < end; at++) {
    const byte = block[at] as number;
    for (let bit = 7; bit >= 0; bit--) {
      code = (code << 1) | ((byte >> bit) & 1);
      bits++;
      const index = code - (firstCode[bits] as number);
      if (index < (codes[bits] as number)) {
        const symbol = symbols[(firstSymbol[bits] as number) + index] as number;
        if (symbol === endOfString) throw notHuffman();
        text += String.fromCharCode(symbol);
        code = 0;
        bits = 0;
      }
    }
  }
  // what is left over must be the start of the end of string: up to seven ones
  if (bits > 7 || code !== (1 << bits) - 1) throw notHuffman();
  return text;
}

function notHuffman(): ConnectionError {
  return new ConnectionError(ErrorCode.COMPRESSION_ERROR, 'header text that is no Huffman code');
}
