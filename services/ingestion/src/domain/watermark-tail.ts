import { createHash } from 'node:crypto';
import { MeshError } from '@millrace/kernel';

/** How far a growing table was read: its largest watermark, and which rows of the overlap behind it are durable. */
export type TailState = {
  readonly watermark: number;
  /** The hashes of those rows' ids, `hashLength` characters each. */
  readonly tail: string;
};

const hashLength = 11;
/** Twice as many hashes fit into one message of NATS beside the rest. */
const rowsMax = 40_000;

/**
 * Rows come in the order of their watermark. Those in `[watermark - overlap, watermark]` are remembered by their ids, so that a row which
 * appears there later is told from one that was read.
 */
export class WatermarkTail {
  readonly #overlap: number;
  readonly #known: ReadonlySet<string>;
  readonly #recent: { readonly watermark: number; readonly hash: string }[] = [];
  #first = 0;
  #watermark: number | undefined;

  constructor(overlap: number, saved?: TailState) {
    this.#overlap = overlap;
    this.#watermark = saved?.watermark;
    const tail = saved?.tail ?? '';
    this.#known = new Set(
      Array.from({ length: tail.length / hashLength }, (_, at) => tail.slice(at * hashLength, (at + 1) * hashLength)),
    );
  }

  /** The smallest watermark that can hold a row that was not read; undefined when nothing was. */
  get from(): number | undefined {
    return this.#watermark === undefined ? undefined : this.#watermark - this.#overlap;
  }

  /** Whether the row was read when this reading began. */
  knows(hash: string): boolean {
    return this.#known.has(hash);
  }

  /** The next row, in the order of watermarks, is durable now or was before. LIMIT_EXCEEDED when the overlap holds too many. */
  add(watermark: number, hash: string): void {
    // rows that come late do not move it back
    this.#watermark = Math.max(this.#watermark ?? watermark, watermark);
    this.#recent.push({ watermark, hash });
    const from = this.#watermark - this.#overlap;
    while ((this.#recent[this.#first]?.watermark ?? from) < from) this.#first++;
    if (this.#first >= rowsMax) {
      this.#recent.splice(0, this.#first);
      this.#first = 0;
    }
    const rows = this.#recent.length - this.#first;
    if (rows > rowsMax)
      throw new MeshError(
        'LIMIT_EXCEEDED',
        `more than ${rowsMax} rows lie within the overlap behind watermark ${this.#watermark}; make the overlap shorter`,
        { rows, limit: rowsMax },
      );
  }

  /** What to keep. While a reading goes on, rows that it has yet to come to are still known. */
  state(isComplete: boolean): TailState | undefined {
    if (this.#watermark === undefined) return undefined;
    const recent = this.#recent.slice(this.#first).map(({ hash }) => hash);
    const kept = isComplete ? recent : new Set([...recent, ...this.#known]);
    return { watermark: this.#watermark, tail: [...kept].join('') };
  }
}

export function rowHash(id: string): string {
  return createHash('sha256').update(id).digest('base64url').slice(0, hashLength);
}
