import type { events } from '@millrace/contracts';
import { type History, insertsEnded, maxSeq } from '@millrace/history';
import type { Telemetry } from '@millrace/runtime';

interface Logged {
  readonly seq: number;
  readonly prediction: events.PredictionEvent;
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
  let batch: Logged[] = [];
  let sinceMs = 0;
  const iterator = messages[Symbol.asyncIterator]();
  let next = iterator.next();
  for (;;) {
    let timer: NodeJS.Timeout | undefined;
    const due = new Promise<'due'>((resolve) => {
      timer = setTimeout(
        () => resolve('due'),
        batch.length === 0 ? 60_000 : Math.max(0, sinceMs + flushMs - performance.now()),
      );
    });
    const got = await Promise.race([next, due]);
    clearTimeout(timer);
    if (got !== 'due') {
      if (got.done) return;
      if (batch.length === 0) sinceMs = performance.now();
      batch.push(got.value);
      next = iterator.next();
    }
    if (batch.length > 0 && (got === 'due' || batch.length >= rowsMax || performance.now() > sinceMs + flushMs)) {
      await insert(history, batch);
      onWritten(batch.length);
      batch = [];
    }
  }
}

async function ensureTable(history: History): Promise<void> {
  await history.command(`
    CREATE TABLE IF NOT EXISTS ${table} (
      prediction_id String, prediction_key String, deployment LowCardinality(String), model LowCardinality(String), model_version LowCardinality(String),
      feature_service LowCardinality(String), feature_service_version LowCardinality(String), score Float64,
      as_of DateTime64(6, 'UTC'), predicted DateTime64(6, 'UTC'), vector_names Array(LowCardinality(String)), vector Array(Nullable(Float64)),
      statuses Array(UInt8), ages_us Array(Int64), entity Map(String, String), _seq UInt64
    ) ENGINE = MergeTree ORDER BY _seq`);
}

async function insert(history: History, batch: readonly Logged[]): Promise<void> {
  await history.client.insert({
    table,
    format: 'JSONEachRow',
    values: batch.map(({ seq, prediction }) => ({
      prediction_id: prediction.predictionId,
      prediction_key: prediction.predictionKey,
      deployment: prediction.deployment,
      model: prediction.model,
      model_version: prediction.modelVersion,
      feature_service: prediction.featureService,
      feature_service_version: prediction.featureServiceVersion,
      // JSON has no NaN, and ClickHouse reads null as 0
      score: Number.isFinite(prediction.score) ? prediction.score : String(prediction.score),
      as_of: dateText(prediction.asOfUs),
      predicted: dateText(prediction.predictedUs),
      vector_names: prediction.vectorNames,
      vector: prediction.vector.map((value) => (Number.isFinite(value) ? value : null)),
      statuses: [...prediction.statuses],
      ages_us: prediction.agesUs.map(Number),
      entity: Object.fromEntries(prediction.entity),
      _seq: seq,
    })),
    clickhouse_settings: {
      min_insert_block_size_rows: '0',
      min_insert_block_size_bytes: '0',
      input_format_parallel_parsing: 0,
      async_insert: 0,
    },
  });
}

/** `2001-04-02 08:00:00.000000` */
function dateText(us: bigint): string {
  const date = new Date(Number(us / 1000n)).toISOString();
  return `${date.slice(0, 10)} ${date.slice(11, 23)}${String(us % 1000n).padStart(3, '0')}`;
}
