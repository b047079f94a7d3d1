import { type History, insertBlock, insertsEnded, maxSeq, RowBinaryWriter } from '@millrace/history';
import type { Telemetry } from '@millrace/runtime';

/** A batch of a stream. */
export interface Logged<Batch> {
  readonly seq: number;
  readonly batch: Batch;
  readonly pending: number;
}

/** Where rows of batches land. */
export interface LandingTable<Batch> {
  readonly name: string;
  /** Makes the table when it is not there; it has the column `_seq`. */
  readonly ddl: string;
  /** In the order in which `writeRow` writes them. */
  readonly columns: readonly string[];
  rowsOf(batch: Batch): number;
  writeRow(writer: RowBinaryWriter, seq: number, batch: Batch, row: number): void;
}

const rowsMax = 20_000;
const flushMs = 1_000;
const retryMs = 500;

/**
 * Lands a stream in ClickHouse, each message once: inserts are one block in the order of the stream, and after a start or an error the place to go
 * on from is max(_seq). Runs until the signal aborts.
 */
export async function landStream<Batch>(deps: {
  readonly table: LandingTable<Batch>;
  readonly open: () => Promise<History>;
  readonly read: (fromSeq: number, signal: AbortSignal) => AsyncIterable<Logged<Batch>>;
  readonly telemetry: Telemetry;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { signal, telemetry, table } = deps;
  const { name } = table;
  const written = telemetry.metrics.counter(`millrace_inference_${name}_written_total`, `${name} written to history`);
  while (!signal.aborted) {
    const attempt = new AbortController();
    let history: History | undefined;
    try {
      history = await deps.open();
      await history.command(table.ddl);
      // an insert of before, whose answer nobody got, may still be on its way into the table
      await insertsEnded(history, `INSERT INTO ${name} `);
      const from = (await maxSeq(history, name)) + 1;
      const messages = deps.read(from, AbortSignal.any([signal, attempt.signal]));
      await follow(history, table, messages, (rows) => written.inc(rows));
    } catch (error) {
      if (!signal.aborted) telemetry.log.warn({ event: `${name}_not_written`, error: String(error) });
    }
    attempt.abort();
    await history?.close().catch(() => undefined);
    if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}

async function follow<Batch>(
  history: History,
  table: LandingTable<Batch>,
  messages: AsyncIterable<Logged<Batch>>,
  onWritten: (rows: number) => void,
): Promise<void> {
  let taken: Logged<Batch>[] = [];
  let rows = 0;
  let sinceMs = 0;
  const iterator = messages[Symbol.asyncIterator]();
  let next = iterator.next();
  for (;;) {
    let timer: NodeJS.Timeout | undefined;
    const due = new Promise<'due'>((resolve) => {
      timer = setTimeout(
        () => resolve('due'),
        rows === 0 ? 60_000 : Math.max(0, sinceMs + flushMs - performance.now()),
      );
    });
    const got = await Promise.race([next, due]);
    clearTimeout(timer);
    if (got !== 'due') {
      if (got.done) return;
      if (rows === 0) sinceMs = performance.now();
      taken.push(got.value);
      rows += table.rowsOf(got.value.batch);
      next = iterator.next();
    }
    if (rows > 0 && (got === 'due' || rows >= rowsMax || performance.now() > sinceMs + flushMs)) {
      await insert(history, table, taken, rows);
      onWritten(rows);
      taken = [];
      rows = 0;
    }
  }
}

async function insert<Batch>(
  history: History,
  table: LandingTable<Batch>,
  taken: readonly Logged<Batch>[],
  rows: number,
): Promise<void> {
  const writer = new RowBinaryWriter();
  for (const { seq, batch } of taken)
    for (let row = 0; row < table.rowsOf(batch); row++) table.writeRow(writer, seq, batch, row);
  await insertBlock(history, { table: table.name, columns: [...table.columns], rows, writer });
}
