import { events } from '@millrace/contracts';
import { openNats, readStream } from '@millrace/events';

/** What the PREDICTIONS stream holds of the subject, a line for each prediction. No file here is a test. */
export async function predictionsInStream(natsUrl: string, filter: string) {
  const nats = await openNats(natsUrl, { name: 'test' });
  const stop = new AbortController();
  const found: ReturnType<typeof predictionsOf> = [];
  for await (const { data, pending } of readStream(nats, {
    stream: 'PREDICTIONS',
    fromSeq: 1,
    filter,
    signal: stop.signal,
  })) {
    found.push(...predictionsOf(events.PredictionBatch.decode(data)));
    if (pending === 0) break;
  }
  stop.abort();
  await nats.close();
  return found;
}

function predictionsOf(batch: events.PredictionBatch) {
  const width = batch.vectorNames.length;
  const { deployment, model, modelVersion, featureService, featureServiceVersion, vectorNames } = batch;
  return batch.predictionIds.map((predictionId, row) => ({
    predictionId,
    predictionKey: batch.predictionKeys[row],
    ...{ deployment, model, modelVersion, featureService, featureServiceVersion, vectorNames },
    score: batch.scores[row],
    asOfUs: batch.asOfUs[row],
    vector: batch.vectors.slice(row * width, (row + 1) * width),
    statuses: [...batch.statuses.subarray(row * width, (row + 1) * width)],
    agesUs: batch.agesUs.slice(row * width, (row + 1) * width),
    entity: new Map(batch.entity.map(({ name, values }) => [name, values[row]])),
  }));
}
