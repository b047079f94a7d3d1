import { events } from '@millrace/contracts';
import { createPublisher, type NatsLink, readStream, subjects } from '@millrace/events';
import type { Telemetry } from '@millrace/runtime';
import type { KeepPredictions, PredictionRecords } from '../app/predict.ts';
import { createGroupCommit } from './group-commit.ts';
import { encodePredictions, messageGroupOf, type PredictionRows, rowBytes } from './prediction-message.ts';

const stream = 'PREDICTIONS';
/** Messages stay well below NATS's limit of a megabyte. */
const messageBytes = 256 * 1024;
/** Messages of one model that are not acknowledged; what comes meanwhile shares the next. */
const inFlightMax = 2;

interface Logged extends PredictionRows {
  readonly size: number;
  readonly traceparent: string | undefined;
}

/** Predictions are acknowledged to callers once JetStream has acknowledged them; those that come together share a message. */
export function createPredictionLog(link: NatsLink, options: { readonly telemetry: Telemetry }) {
  const publisher = createPublisher(link, { maxInFlight: 1_024 });
  const log = createGroupCommit<Logged>({
    inFlightMax,
    sizeMax: messageBytes,
    async write(rows, signal) {
      const { records, from, traceparent } = rows[0] as Logged;
      await publisher.publish(subjects.predictions(records.model), encodePredictions(rows), {
        msgId: records.ids[from] ?? '',
        headers: traceparent === undefined ? {} : { traceparent },
        signal,
      });
    },
  });
  const keep: KeepPredictions = async (records, signal) => {
    const traceparent = options.telemetry.tracer.inject();
    await Promise.all(
      records.flatMap((own) =>
        rowsOf(own).map((rows) =>
          log.commit(
            { ...rows, size: (rows.to - rows.from) * rowBytes(own), traceparent },
            messageGroupOf(own),
            signal,
          ),
        ),
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

/** Rows that fit into a message. */
function rowsOf(records: PredictionRecords): PredictionRows[] {
  const rows = Math.max(1, Math.floor(messageBytes / rowBytes(records)));
  const all = records.ids.length;
  return Array.from({ length: Math.ceil(all / rows) }, (_, at) => ({
    records,
    from: at * rows,
    to: Math.min(all, (at + 1) * rows),
  }));
}
