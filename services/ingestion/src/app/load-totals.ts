import type { InputRecord, LoadProgress, RowCounts, RowRejection } from './load-store.ts';

const rejectionsMax = 20;

/** What a load has done so far: its finished inputs, and the one that is being read. */
export class LoadTotals {
  /** The input that is being read; empty when none is. */
  current = '';
  readonly sinceMs = performance.now();
  /** Rows and bytes of this run alone, for its rate: a load that was resumed has more. */
  rowsSince = 0;
  bytesSince = 0;
  #done: RowCounts = { rows: 0, accepted: 0, duplicates: 0, rejected: 0 };
  #open: RowCounts = { rows: 0, accepted: 0, duplicates: 0, rejected: 0 };
  #bytesDone = 0;
  #bytesOpen = 0;
  #bytesTotal = 0;
  #inputs = 0;
  #inputsDone = 0;
  #inputsSkipped = 0;
  readonly #rejections: RowRejection[];

  constructor(rejections: readonly RowRejection[]) {
    this.#rejections = [...rejections];
  }

  found(inputs: readonly { readonly bytes: number }[]): void {
    this.#inputs = inputs.length;
    this.#bytesTotal = inputs.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** An input whose size was not known has this one. */
  sized(bytesBefore: number, bytes: number): void {
    this.#bytesTotal += bytes - bytesBefore;
  }

  skip(bytes: number): void {
    this.#inputsSkipped++;
    this.#close(bytes);
  }

  update(record: Readonly<RowCounts>, bytesRead: number, rowsMore: number, rejections: readonly RowRejection[]): void {
    this.rowsSince += rowsMore;
    this.bytesSince += bytesRead - this.#bytesOpen;
    this.#open = { ...record };
    this.#bytesOpen = bytesRead;
    this.#rejections.push(...rejections.slice(0, Math.max(0, rejectionsMax - this.#rejections.length)));
  }

  finish(record: InputRecord): void {
    for (const key of ['rows', 'accepted', 'duplicates', 'rejected'] as const) this.#done[key] += record[key];
    this.#close(record.bytes);
  }

  progress(): LoadProgress {
    const sum = (key: keyof RowCounts) => this.#done[key] + this.#open[key];
    return {
      rows: sum('rows'),
      accepted: sum('accepted'),
      duplicates: sum('duplicates'),
      rejected: sum('rejected'),
      inputs: this.#inputs,
      inputsDone: this.#inputsDone,
      inputsSkipped: this.#inputsSkipped,
      bytes: this.#bytesDone + this.#bytesOpen,
      bytesTotal: this.#bytesTotal,
      rejections: this.#rejections,
    };
  }

  #close(bytes: number): void {
    this.#inputsDone++;
    this.#bytesDone += bytes;
    this.#bytesOpen = 0;
    this.#open = { rows: 0, accepted: 0, duplicates: 0, rejected: 0 };
  }
}
