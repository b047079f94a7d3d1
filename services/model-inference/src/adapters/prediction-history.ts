import type { events } from '@millrace/contracts';
import type { RowBinaryWriter } from '@millrace/history';
import type { LandingTable } from './land-stream.ts';

/** Each prediction of the stream PREDICTIONS. */
export const predictionTable: LandingTable<events.PredictionBatch> = {
  name: 'predictions',
  ddl: `
    CREATE TABLE IF NOT EXISTS predictions (
      prediction_id String, prediction_key String, deployment LowCardinality(String), model LowCardinality(String), model_version LowCardinality(String),
      feature_service LowCardinality(String), feature_service_version LowCardinality(String), score Float64,
      as_of DateTime64(6, 'UTC'), predicted DateTime64(6, 'UTC'), vector_names Array(LowCardinality(String)), vector Array(Nullable(Float64)),
      statuses Array(UInt8), ages_us Array(Int64), entity Map(String, String), _seq UInt64, _index UInt32
    ) ENGINE = MergeTree ORDER BY (_seq, _index)`,
  columns: [
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
  ],
  rowsOf: ({ predictionIds }) => predictionIds.length,
  writeRow,
};

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
  writer.bigint64(batch.predictedUsByRow[row] ?? batch.predictedUs);
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
