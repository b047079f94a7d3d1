import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { definitions, events } from '@millrace/contracts';
import {
  type Column,
  type DecodedBatch,
  decodeEventBatch,
  type NatsLink,
  readStream,
  streamInfo,
} from '@millrace/events';
import type { RegistrySnapshot } from '@millrace/registry';
import type { Telemetry } from '@millrace/runtime';
import type { OutcomeBook, Segment } from '../app/outcomes.ts';

const retryMs = 200;

export interface FollowDeps {
  readonly link: NatsLink;
  readonly book: OutcomeBook;
  readonly predictions: (
    fromSeq: number,
    signal: AbortSignal,
  ) => AsyncIterable<{ readonly seq: number; readonly batch: events.PredictionBatch; readonly pending: number }>;
  readonly snapshot: () => RegistrySnapshot;
  readonly dataDir: string;
  readonly telemetry: Telemetry;
  readonly signal: AbortSignal;
}

/**
 * Feeds the outcome book: predictions, and events from where this process first looked, which it keeps in a file, so that a restart counts
 * what it counted before. Events of before the first prediction can be nobody's outcome. An event waits for every prediction that was
 * acknowledged before it: an outcome right behind its prediction finds it.
 */
export async function followOutcomes(deps: FollowDeps): Promise<void> {
  const { link, book, signal } = deps;
  const from = await firstPosition(link, deps.dataDir);
  let predictedSeq = 0;
  let moved = Promise.withResolvers<void>();
  const predictions = (async () => {
    for await (const { seq, batch } of deps.predictions(1, signal)) {
      const { deployment, model, modelVersion, predictionKeys, scores } = batch;
      const columns = deps.snapshot().models.get(model)?.spec.segments ?? [];
      const segmentsOf = segmentReader(batch, columns);
      for (const [row, score] of scores.entries()) {
        const predictedUs = Number(batch.predictedUsByRow[row] ?? batch.predictedUs);
        const key = predictionKeys[row] ?? '';
        book.predicted({ deployment, model, modelVersion, predictedUs, key, score, segments: segmentsOf(row) });
      }
      predictedSeq = seq;
      moved.resolve();
    }
  })();
  const caughtUp = async () => {
    const lastSeq = await lastPrediction(deps);
    while (predictedSeq < lastSeq && !signal.aborted) {
      moved = Promise.withResolvers();
      await moved.promise;
    }
  };
  const outcomes = (async () => {
    for await (const { data, seq } of readStream(link, { stream: 'EVENTS', fromSeq: from, signal })) {
      const batch = decodeEventBatch(data);
      const joins = joinsOf(deps.snapshot(), batch.source);
      if (joins.length === 0) continue;
      await caughtUp();
      for (const join of joins) takeOutcomes(batch, seq, join, book);
    }
  })();
  await Promise.all([predictions, outcomes]);
}

interface Join {
  readonly model: string;
  readonly outcome: definitions.OutcomeJoin;
}

function joinsOf({ models }: RegistrySnapshot, source: string): Join[] {
  return [...models.values()].flatMap(({ name, spec: { outcome } }) =>
    outcome?.source === source ? [{ model: name, outcome }] : [],
  );
}

function takeOutcomes(batch: DecodedBatch, seq: number, { model, outcome }: Join, book: OutcomeBook): void {
  const keys = batch.columns.get(outcome.keyField);
  const labels = batch.columns.get(outcome.labelField);
  if (!keys || !labels) return;
  for (let row = 0; row < batch.count; row++) {
    const key = textOf(keys, row);
    const label = outcomeOf(labels, row);
    if (key !== undefined && label !== undefined) book.outcome(model, key, label, seq);
  }
}

/** The last prediction that can still be read; 0 when there is none. */
async function lastPrediction({ link, telemetry, signal }: FollowDeps): Promise<number> {
  while (!signal.aborted) {
    try {
      const { lastSeq, messages } = await streamInfo(link, 'PREDICTIONS');
      return messages === 0 ? 0 : lastSeq;
    } catch (error) {
      telemetry.log.warn({ event: 'outcomes_wait', error: String(error) });
      await new Promise((resolve) => setTimeout(resolve, retryMs));
    }
  }
  return 0;
}

async function firstPosition(link: NatsLink, dataDir: string): Promise<number> {
  const file = join(dataDir, 'outcomes.json');
  if (existsSync(file))
    return (JSON.parse(readFileSync(file, 'utf8')) as { readonly fromPosition: number }).fromPosition;
  const { lastSeq: predictions } = await streamInfo(link, 'PREDICTIONS');
  const { lastSeq: events } = await streamInfo(link, 'EVENTS');
  // with predictions but no file another process made them: then every event may be an outcome
  const fromPosition = predictions === 0 ? events + 1 : 1;
  mkdirSync(dataDir, { recursive: true });
  writeFileSync(file, JSON.stringify({ fromPosition }));
  return fromPosition;
}

function textOf(column: Column, row: number): string | undefined {
  if (column.nulls?.[row] === 1) return undefined;
  return String(column.values[row]);
}

/** The values of a prediction's segment columns: join keys, or columns of its vector. */
function segmentReader(batch: events.PredictionBatch, columns: readonly string[]): (row: number) => Segment[] {
  const width = batch.vectorNames.length;
  const readers = columns.flatMap((column) => {
    const keys = batch.entity.find(({ name }) => name === column);
    const at = batch.vectorNames.indexOf(column);
    if (keys) return [{ column, read: (row: number) => keys.values[row] ?? '' }];
    return at < 0 ? [] : [{ column, read: (row: number) => String(batch.vectors[row * width + at] ?? Number.NaN) }];
  });
  return (row) => readers.map(({ column, read }) => ({ column, value: read(row) }));
}

function outcomeOf(column: Column, row: number): number | undefined {
  if (column.nulls?.[row] === 1 || column.type === 'str') return undefined;
  const outcome = Number(column.values[row]);
  return Number.isNaN(outcome) ? undefined : outcome;
}
