import { Problem } from '../domain/problem.ts';
import type { RawEvent } from '../domain/raw-event.ts';
import { checkBatchSize } from './accept-batch.ts';
import type { Rejection } from './batch-outcome.ts';
import type { Judge } from './judge.ts';

export type Checked = { readonly valid: number; readonly duplicates: number; readonly rejections: Rejection[] };

/** What would become of a batch, each event alone; publishes nothing. */
export function createCheckEvents(judge: Judge) {
  return async (source: string, events: readonly RawEvent[]): Promise<Checked> => {
    checkBatchSize(source, events.length);
    const outcomes = await judge(source, events);
    const rejections = outcomes.flatMap((outcome, index): Rejection[] => {
      if (!(outcome instanceof Problem)) return [];
      const { reason, field, message, expectation } = outcome;
      return [{ index, eventId: events[index]?.id ?? '', reason, field, message, expectation, quarantineId: '' }];
    });
    const duplicates = outcomes.filter((outcome) => outcome === 'duplicate').length;
    return { valid: events.length - rejections.length - duplicates, duplicates, rejections };
  };
}
