import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { events } from '@millrace/contracts';
import { type Column, decodeEventBatch, type NatsLink, readStream, streamInfo } from '@millrace/events';
import type { RegistrySnapshot } from '@millrace/registry';
import type { OutcomeBook } from '../app/outcomes.ts';

/**
 * Feeds the outcome book: first every prediction that the stream holds, then events from where this process first looked, which it keeps
 * in a file, so that a restart counts what it counted before. Events of before the first prediction can be nobody's outcome.
 */
export async function followOutcomes(deps: {
  readonly link: NatsLink;
  readonly book: OutcomeBook;
  readonly predictions: (
    fromSeq: number,
    signal: AbortSignal,
  ) => AsyncIterable<{ readonly seq: number; readonly prediction: events.PredictionEvent; readonly pending: number }>;
  readonly snapshot: () => RegistrySnapshot;
  readonly dataDir: string;
  readonly signal: AbortSignal;
}): Promise<void> {
  const { link, book, signal } = deps;
  const from = await firstPosition(link, deps.dataDir);
  const { lastSeq } = await streamInfo(link, 'PREDICTIONS');
  const caughtUp = Promise.withResolvers<void>();
  if (lastSeq === 0) caughtUp.resolve();
  const predictions = (async () => {
    for await (const { seq, prediction } of deps.predictions(1, signal)) {
      const { model, modelVersion, predictionKey: key, score } = prediction;
      book.predicted({ model, modelVersion, key, score });
      if (seq >= lastSeq) caughtUp.resolve();
    }
  })();
  const outcomes = (async () => {
    await caughtUp.promise;
    for await (const { data } of readStream(link, { stream: 'EVENTS', fromSeq: from, signal })) {
      const batch = decodeEventBatch(data);
      for (const { name, spec } of deps.snapshot().models.values()) {
        const { outcome } = spec;
        if (outcome?.source !== batch.source) continue;
        const keys = batch.columns.get(outcome.keyField);
        const labels = batch.columns.get(outcome.labelField);
        if (!keys || !labels) continue;
        for (let row = 0; row < batch.count; row++) {
          const key = textOf(keys, row);
          const label = positive(labels, row);
          if (key !== undefined && label !== undefined) book.outcome(name, key, label);
        }
      }
    }
  })();
  await Promise.all([predictions, outcomes]);
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

function positive(column: Column, row: number): boolean | undefined {
  if (column.nulls?.[row] === 1 || column.type === 'str') return undefined;
  return Number(column.values[row]) > 0;
}
