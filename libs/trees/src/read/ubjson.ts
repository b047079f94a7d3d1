import { damaged } from '../problems.ts';

const format = 'XGBoost UBJSON';
/** XGBoost nests six deep. */
const depthMax = 64;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** A JSON file goes on with a quote or a space where UBJSON has the type of a length. */
export function isUbjson(bytes: Uint8Array): boolean {
  return bytes[0] === 0x7b && 'iUIlL$#'.includes(String.fromCharCode(bytes[1] ?? 0));
}

/**
 * Universal Binary JSON, draft 12, as XGBoost writes it: numbers big-endian, arrays of one type with their count. Work and memory are
 * bounded by the bytes: what takes none (`[$Z#`) is refused.
 */
export function parseUbjson(bytes: Uint8Array): unknown {
  const reader = new Reader(bytes);
  const value = reader.value(reader.marker(), 0);
  if (!reader.isAtEnd) throw damaged(format, 'it goes on after its end');
  return value;
}

const sizes: Readonly<Record<string, number>> = { i: 1, U: 1, I: 2, l: 4, L: 8, d: 4, D: 8 };

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  marker(): string {
    return String.fromCharCode(this.#bytes[this.#take(1)] ?? 0);
  }

  value(marker: string, depth: number): unknown {
    if (depth > depthMax) throw damaged(format, `it is nested deeper than ${depthMax}`);
    switch (marker) {
      case '{':
        return this.#object(depth);
      case '[':
        return this.#array(depth);
      case 'S':
        return this.#text();
      case 'C':
        return this.marker();
      case 'T':
        return true;
      case 'F':
        return false;
      case 'Z':
        return null;
      default:
        return this.#number(marker);
    }
  }

  #object(depth: number): Record<string, unknown> {
    const { type, count } = this.#header();
    const entries: [string, unknown][] = [];
    for (let at = 0; count === undefined ? !this.#ends('}') : at < count; at++)
      entries.push([this.#text(), this.value(type ?? this.marker(), depth + 1)]);
    // not by assignment: a key may be __proto__
    return Object.fromEntries(entries);
  }

  #array(depth: number): unknown[] {
    const { type, count } = this.#header();
    const items: unknown[] = [];
    for (let at = 0; count === undefined ? !this.#ends(']') : at < count; at++)
      items.push(this.value(type ?? this.marker(), depth + 1));
    return items;
  }

  /** The type of all items and how many they are, where the file says so. */
  #header(): { readonly type: string | undefined; readonly count: number | undefined } {
    const type = this.#ends('$') ? this.marker() : undefined;
    if (type !== undefined && sizes[type] === undefined && !'SC[{'.includes(type))
      throw damaged(format, `it has a list of "${type}"`);
    if (!this.#ends('#')) {
      if (type !== undefined) throw damaged(format, 'a list with a type has no count');
      return { type, count: undefined };
    }
    const count = this.#length();
    if (count * (sizes[type ?? ''] ?? 1) > this.#bytes.length - this.#at)
      throw damaged(format, `it has a list of ${count} that runs past its end`);
    return { type, count };
  }

  /** Whether the next byte is this one, which is taken then. */
  #ends(marker: string): boolean {
    if (this.#bytes[this.#at] !== marker.charCodeAt(0)) return false;
    this.#at++;
    return true;
  }

  #text(): string {
    const length = this.#length();
    const from = this.#take(length);
    try {
      return utf8.decode(this.#bytes.subarray(from, from + length));
    } catch {
      throw damaged(format, 'it has a text that is not UTF-8');
    }
  }

  #length(): number {
    const length = this.#number(this.marker());
    if (!Number.isSafeInteger(length) || length < 0) throw damaged(format, `it has the length ${length}`);
    return length;
  }

  #number(marker: string): number {
    const size = sizes[marker];
    if (size === undefined) throw damaged(format, `it has a value of type "${marker}"`);
    const from = this.#take(size);
    switch (marker) {
      case 'i':
        return this.#view.getInt8(from);
      case 'U':
        return this.#view.getUint8(from);
      case 'I':
        return this.#view.getInt16(from);
      case 'l':
        return this.#view.getInt32(from);
      case 'L':
        return Number(this.#view.getBigInt64(from));
      case 'd':
        return this.#view.getFloat32(from);
      default:
        return this.#view.getFloat64(from);
    }
  }

  #take(count: number): number {
    const from = this.#at;
    if (from + count > this.#bytes.length) throw damaged(format, 'it ends too early');
    this.#at = from + count;
    return from;
  }
}
