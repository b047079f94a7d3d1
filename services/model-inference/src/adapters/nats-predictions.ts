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
  const keep: KeepPredictions = async (records, given) => {
    const signal = AbortSignal.any([options.signal, given]);
    const traceparent = options.telemetry.tracer.inject();
    const headers = traceparent === undefined ? {} : { traceparent };
    const names = new Map<readonly string[], Uint8Array>();
    await Promise.all(
      records.map((record) => {
        const bytes = Buffer.concat([
          events.PredictionEvent.encode(toWire(record)).finish(),
          namesOf(record.names, names),
        ]);
        return publisher.publish(subjects.predictions(record.model), bytes, {
          msgId: record.predictionId,
          headers,
          signal,
        });
      }),
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

/** Protobuf messages may be cut anywhere between fields: the names, which all rows share, are encoded once. */
function namesOf(names: readonly string[], known: Map<readonly string[], Uint8Array>): Uint8Array {
  const encoded =
    known.get(names) ??
    events.PredictionEvent.encode(events.PredictionEvent.fromPartial({ vectorNames: [...names] })).finish();
  known.set(names, encoded);
  return encoded;
}

/** All but the vector's names. */
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
    vectorNames: [],
    vector: [...record.vector],
    statuses: Buffer.from(record.statuses),
    agesUs: Array.from(record.agesUs, (age) => BigInt(age)),
    entity: new Map(record.entity),
  };
}
