import { events } from '@millrace/contracts';
import { createPublisher, type NatsLink, readStream, subjects } from '@millrace/events';
import type { Telemetry } from '@millrace/runtime';
import type { KeepPredictions, PredictionRecords } from '../app/predict.ts';

const stream = 'PREDICTIONS';
/** Messages stay well below NATS's limit of a megabyte. */
const messageBytes = 256 * 1024;
/** A value of a vector with its status and age. */
const valueBytes = 8 + 1 + 8;
/** Ids, keys and what else a prediction has; an estimate. */
const predictionBytes = 256;

/** Predictions are acknowledged to callers once JetStream has acknowledged them. */
export function createPredictionLog(
  link: NatsLink,
  options: { readonly signal: AbortSignal; readonly telemetry: Telemetry },
) {
  const publisher = createPublisher(link, { maxInFlight: 1_024 });
  const keep: KeepPredictions = async (records, given) => {
    const signal = AbortSignal.any([options.signal, given]);
    const traceparent = options.telemetry.tracer.inject();
    const headers = traceparent === undefined ? {} : { traceparent };
    await Promise.all(
      records.flatMap(messagesOf).map((batch) =>
        publisher.publish(subjects.predictions(batch.model), events.PredictionBatch.encode(batch).finish(), {
          msgId: batch.predictionIds[0] ?? '',
          headers,
          signal,
        }),
      ),
    );
  };
  return {
    keep,
    async *read(fromSeq: number, signal: AbortSignal) {
      for await (const { seq, data, pending } of readStream(link, { stream, fromSeq, signal }))
        yield { seq, batch: events.PredictionBatch.decode(data), pending };
    },
  };
}

function messagesOf(records: PredictionRecords): events.PredictionBatch[] {
  const { names } = records.vectors;
  const rows = Math.max(1, Math.floor(messageBytes / (predictionBytes + names.length * valueBytes)));
  const messages: events.PredictionBatch[] = [];
  for (let from = 0; from < records.ids.length; from += rows) messages.push(toWire(records, from, from + rows));
  return messages;
}

function toWire(records: PredictionRecords, from: number, to: number): events.PredictionBatch {
  const { names, values, statuses, agesUs } = records.vectors;
  const width = names.length;
  return {
    deployment: records.deployment,
    model: records.model,
    modelVersion: records.modelVersion,
    featureService: records.featureService,
    featureServiceVersion: records.featureServiceVersion,
    predictedUs: BigInt(records.predictedUs),
    predictionIds: records.ids.slice(from, to),
    predictionKeys: records.keys.slice(from, to),
    scores: records.scores.slice(from, to),
    asOfUs: records.asOfUs.slice(from, to).map(BigInt),
    vectorNames: [...names],
    vectors: Array.from(values.subarray(from * width, to * width)),
    statuses: Buffer.from(statuses.subarray(from * width, to * width)),
    agesUs: Array.from(agesUs.subarray(from * width, to * width), BigInt),
    entity: records.entity.map(({ name, values: texts }) => ({ name, values: texts.slice(from, to) })),
  };
}
