import { ConnectionError, ErrorCode } from './frames.ts';
import { staticTable } from './hpack-tables.ts';
import { decodeHuffman } from './huffman.ts';

/** Name, value, name, value … */
export type HeaderFields = readonly string[];

export type DecodedBlock = {
  readonly fields: HeaderFields;
  /** The fields are more than the limit: those beyond it are left out. */
  readonly tooLarge: boolean;
};

const entryOverhead = 32;
const staticEntries = staticTable.length / 2;

/** The receiving side of RFC 7541. A block that is not HPACK throws a ConnectionError: the tables of both sides differ from there on. */
export class HpackDecoder {
  readonly #tableBytesMax: number;
  readonly #listBytesMax: number;
  /** Name, value …, oldest first from `#head` on. */
  #entries: string[] = [];
  #head = 0;
  #tableBytes = 0;
  #tableLimit: number;
  #version = 0;
  #block: Buffer = Buffer.alloc(0);
  #at = 0;

  constructor(limits: { readonly tableBytesMax: number; readonly listBytesMax: number }) {
    this.#tableBytesMax = limits.tableBytesMax;
    this.#tableLimit = limits.tableBytesMax;
    this.#listBytesMax = limits.listBytesMax;
  }

  /** Changes with the table: equal blocks under one version, decoded without a change, are equal fields. */
  get version(): number {
    return this.#version;
  }

  decode(block: Buffer): DecodedBlock {
    this.#block = block;
    this.#at = 0;
    const fields: string[] = [];
    let listBytes = 0;
    let name = '';
    let value = '';
    while (this.#at < block.length) {
      const first = block[this.#at] as number;
      if ((first & 0xe0) === 0x20) {
        if (fields.length > 0) throw compressionError('a table size update after a field');
        this.#resize(this.#integer(5));
        continue;
      }
      if (first >= 0x80) {
        const at = this.#entryAt(this.#integer(7));
        name = this.#lookUp(at, 0);
        value = this.#lookUp(at, 1);
      } else {
        const indexed = first >= 0x40;
        const index = this.#integer(indexed ? 6 : 4);
        name = index > 0 ? this.#lookUp(this.#entryAt(index), 0) : this.#text();
        value = this.#text();
        if (indexed) this.#add(name, value);
      }
      listBytes += name.length + value.length + entryOverhead;
      if (listBytes <= this.#listBytesMax) fields.push(name, value);
    }
    return { fields, tooLarge: listBytes > this.#listBytesMax };
  }

  /** Where an entry is: in the static table as a negative number, in ours as it is. */
  #entryAt(index: number): number {
    if (index === 0) throw compressionError('index 0');
    if (index <= staticEntries) return -index;
    const at = this.#entries.length - 2 * (index - staticEntries);
    if (at < this.#head) throw compressionError(`index ${index} is beyond the table`);
    return at;
  }

  #lookUp(at: number, part: 0 | 1): string {
    return (at < 0 ? staticTable[2 * (-at - 1) + part] : this.#entries[at + part]) as string;
  }

  #add(name: string, value: string): void {
    this.#version++;
    const bytes = name.length + value.length + entryOverhead;
    this.#evict(this.#tableLimit - bytes);
    if (bytes > this.#tableLimit) return;
    this.#entries.push(name, value);
    this.#tableBytes += bytes;
  }

  #resize(limit: number): void {
    if (limit > this.#tableBytesMax) throw compressionError(`a table of ${limit} bytes`);
    this.#version++;
    this.#tableLimit = limit;
    this.#evict(limit);
  }

  #evict(limit: number): void {
    while (this.#tableBytes > limit && this.#head < this.#entries.length) {
      const [name = '', value = ''] = [this.#entries[this.#head], this.#entries[this.#head + 1]];
      this.#tableBytes -= name.length + value.length + entryOverhead;
      this.#head += 2;
    }
    if (this.#head < 256) return;
    this.#entries = this.#entries.slice(this.#head);
    this.#head = 0;
  }

  #integer(prefixBits: number): number {
    const max = (1 << prefixBits) - 1;
    let value = this.#byte() & max;
    if (value < max) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.#byte();
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw compressionError('an integer of more than 28 bits');
  }

  #text(): string {
    const huffman = (this.#block[this.#at] as number) >= 0x80;
    const length = this.#integer(7);
    const end = this.#at + length;
    if (end > this.#block.length) throw compressionError('a text that goes on beyond its block');
    const text = huffman ? decodeHuffman(this.#block, this.#at, end) : this.#block.toString('latin1', this.#at, end);
    this.#at = end;
    return text;
  }

  #byte(): number {
    const byte = this.#block[this.#at++];
    if (byte === undefined) throw compressionError('a block that ends within a field');
    return byte;
  }
}

function compressionError(what: string): ConnectionError {
  return new ConnectionError(ErrorCode.COMPRESSION_ERROR, `header block with ${what}`);
}
