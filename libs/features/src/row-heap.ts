import { encodeList } from './list-codec.ts';
import type { ElementType, List } from './types.ts';

/** The texts and lists of a row, each once. */
export class RowHeap {
  readonly #texts = new Map<string, number>();
  readonly #lists = new Map<string, number>();
  readonly #entries: { readonly bytes: Buffer; readonly offset: number }[] = [];
  bytes = 0;

  intern(text: string): number {
    return this.#texts.get(text) ?? this.#add(this.#texts, text, Buffer.from(text));
  }

  internList(list: List, element: ElementType): number {
    const bytes = encodeList(list, element);
    const key = bytes.toString('latin1');
    return this.#lists.get(key) ?? this.#add(this.#lists, key, bytes);
  }

  /** Turns the number of an entry at `at` into its offset and length; a null is (0, 0). */
  place(row: Buffer, at: number, heapAt: number): void {
    const entry = this.#entries[row.readDoubleLE(at)];
    row.writeUInt32LE(entry ? heapAt + entry.offset : 0, at);
    row.writeUInt32LE(entry?.bytes.length ?? 0, at + 4);
  }

  write(row: Buffer, at: number): void {
    for (const { bytes, offset } of this.#entries) bytes.copy(row, at + offset);
  }

  #add(index: Map<string, number>, key: string, bytes: Buffer): number {
    index.set(key, this.#entries.length);
    this.#entries.push({ bytes, offset: this.bytes });
    this.bytes += bytes.length;
    return this.#entries.length - 1;
  }
}
