import { events } from '@millrace/contracts';
import { createPublisher, type NatsLink, readStream, subjects } from '@millrace/events';
import type { Telemetry } from '@millrace/runtime';
import type { KeepPredictions, PredictionRecord } from '../app/predict.ts';

const stream = 'PREDICTIONS';

/** Predictions are acknowledged to callers once JetStream has acknowledged them. */
export function createPredictionLog(
  link: NatsLink,
  options: { readonly signal: AbortSignal; readonly telemetry: Telemetry },
) {
  const publisher = createPublisher(link, { maxInFlight: 1_024 });
  const keep: KeepPredictions = async (records) => {
    const traceparent = options.telemetry.tracer.inject();
    const headers = traceparent === undefined ? {} : { traceparent };
    await Promise.all(
      records.map((record) =>
        publisher.publish(subjects.predictions(record.model), events.PredictionEvent.encode(toWire(record)).finish(), {
          msgId: record.predictionId,
          headers,
          signal: options.signal,
        }),
      ),
    );
  };
  return {
    keep,
    async *read(fromSeq: number, signal: AbortSignal) {
      for await (const { seq, data, pending } of readStream(link, { stream, fromSeq, signal }))
        yield { seq, prediction: events.PredictionEvent.decode(data), pending };
    },
  };
}

function toWire(record: PredictionRecord): events.PredictionEvent {
  return {
    predictionId: record.predictionId,
    predictionKey: record.predictionKey,
    deployment: record.deployment,
    model: record.model,
    modelVersion: record.modelVersion,
    featureService: record.featureService,
    featureServiceVersion: record.featureServiceVersion,
    score: record.score,
    asOfUs: BigInt(record.asOfUs),
    predictedUs: BigInt(record.predictedUs),
    vectorNames: [...record.names],
    vector: [...record.vector],
    statuses: Buffer.from(record.statuses),
    agesUs: Array.from(record.agesUs, (age) => BigInt(age)),
    entity: new Map(record.entity),
  };
}
