import type { events } from '@millrace/contracts';
import { type History, insertBlock, insertsEnded, maxSeq, RowBinaryWriter } from '@millrace/history';
import type { Telemetry } from '@millrace/runtime';

interface Logged {
  readonly seq: number;
  readonly batch: events.PredictionBatch;
  readonly pending: number;
}

const table = 'predictions';
const rowsMax = 20_000;
const flushMs = 1_000;
const retryMs = 500;

/**
 * Lands the PREDICTIONS stream in ClickHouse, each prediction once: inserts are one block in the order of the stream, and after a start or an
 * error the place to go on from is max(_seq). Runs until the signal aborts.
 */
export async function writePredictions(deps: {
  readonly open: () => Promise<History>;
  readonly read: (fromSeq: number, signal: AbortSignal) => AsyncIterable<Logged>;
  readonly telemetry: Telemetry;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { signal, telemetry } = deps;
  const written = telemetry.metrics.counter(
    'millrace_inference_predictions_written_total',
    'predictions written to history',
  );
  while (!signal.aborted) {
    const attempt = new AbortController();
    let history: History | undefined;
    try {
      history = await deps.open();
      await ensureTable(history);
      // an insert of before, whose answer nobody got, may still be on its way into the table
      await insertsEnded(history, `INSERT INTO ${table} `);
      const from = (await maxSeq(history, table)) + 1;
      await follow(history, deps.read(from, AbortSignal.any([signal, attempt.signal])), (rows) => written.inc(rows));
    } catch (error) {
      if (!signal.aborted) telemetry.log.warn({ event: 'predictions_not_written', error: String(error) });
    }
    attempt.abort();
    await history?.close().catch(() => undefined);
    if (!signal.aborted) await new Promise((resolve) => setTimeout(resolve, retryMs));
  }
}

async function follow(
  history: History,
  messages: AsyncIterable<Logged>,
  onWritten: (rows: number) => void,
): Promise<void> {
  let taken: Logged[] = [];
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
      rows += got.value.batch.predictionIds.length;
      next = iterator.next();
    }
    if (rows > 0 && (got === 'due' || rows >= rowsMax || performance.now() > sinceMs + flushMs)) {
      await insert(history, taken, rows);
      onWritten(rows);
      taken = [];
      rows = 0;
    }
  }
}

async function ensureTable(history: History): Promise<void> {
  await history.command(`
    CREATE TABLE IF NOT EXISTS ${table} (
      prediction_id String, prediction_key String, deployment LowCardinality(String), model LowCardinality(String), model_version LowCardinality(String),
      feature_service LowCardinality(String), feature_service_version LowCardinality(String), score Float64,
      as_of DateTime64(6, 'UTC'), predicted DateTime64(6, 'UTC'), vector_names Array(LowCardinality(String)), vector Array(Nullable(Float64)),
      statuses Array(UInt8), ages_us Array(Int64), entity Map(String, String), _seq UInt64, _index UInt32
    ) ENGINE = MergeTree ORDER BY (_seq, _index)`);
}

/** In the order of the columns. */
const columns = [
  'prediction_id',
  'prediction_key',
  'deployment',
  'model',
  'model_version',
  'feature_service',
  'feature_service_version',
  'score',
  'as_of',
  'predicted',
  'vector_names',
  'vector',
  'statuses',
  'ages_us',
  'entity',
  '_seq',
  '_index',
];

async function insert(history: History, taken: readonly Logged[], rows: number): Promise<void> {
  const writer = new RowBinaryWriter();
  for (const { seq, batch } of taken)
    for (let row = 0; row < batch.predictionIds.length; row++) writeRow(writer, seq, batch, row);
  await insertBlock(history, { table, columns, rows, writer });
}

function writeRow(writer: RowBinaryWriter, seq: number, batch: events.PredictionBatch, row: number): void {
  const width = batch.vectorNames.length;
  writer.string(batch.predictionIds[row] ?? '');
  writer.string(batch.predictionKeys[row] ?? '');
  writer.string(batch.deployment);
  writer.string(batch.model);
  writer.string(batch.modelVersion);
  writer.string(batch.featureService);
  writer.string(batch.featureServiceVersion);
  writer.float64(batch.scores[row] ?? Number.NaN);
  writer.bigint64(batch.asOfUs[row] ?? 0n);
  writer.bigint64(batch.predictedUs);
  writer.length(width);
  for (const name of batch.vectorNames) writer.string(name);
  writer.length(width);
  for (let at = row * width; at < (row + 1) * width; at++) {
    const value = batch.vectors[at] ?? Number.NaN;
    const isNull = !Number.isFinite(value);
    writer.uint8(isNull ? 1 : 0);
    if (!isNull) writer.float64(value);
  }
  writer.length(width);
  for (let at = row * width; at < (row + 1) * width; at++) writer.uint8(batch.statuses[at] ?? 0);
  writer.length(width);
  for (let at = row * width; at < (row + 1) * width; at++) writer.bigint64(batch.agesUs[at] ?? -1n);
  writer.length(batch.entity.length);
  for (const { name, values } of batch.entity) {
    writer.string(name);
    writer.string(values[row] ?? '');
  }
  writer.int64(seq);
  writer.uint32(row);
}
