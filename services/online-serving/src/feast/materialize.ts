import { MeshError } from '@millrace/kernel';
import { timeUsOf } from './field-values.ts';
import { type Body, flag, optionalText, texts } from './parse-body.ts';
import type { SourceCatalog } from './push.ts';

/**
 * POST /materialize and /materialize-incremental. Rows are written as events come in, so that there is nothing to copy: the request is
 * checked as Feast checks it, and the answer says that what it asks for is done already.
 */
export async function materialize(
  catalog: SourceCatalog,
  body: Body,
  options: { readonly range: 'start and end' | 'end'; readonly asynchronous: boolean },
): Promise<{ readonly status: number; readonly answer: object }> {
  const wanted = texts(body, 'feature_views');
  if (wanted.some((view) => !catalog.viewNames().includes(view))) await catalog.refresh();
  const known = catalog.viewNames();
  const unknown = wanted.find((view) => !known.includes(view));
  if (unknown !== undefined) {
    throw new MeshError('UNKNOWN_FEATURE_VIEW', `there is no feature view "${unknown}"; apply its definition first`, {
      view: unknown,
    });
  }
  if (options.range === 'end') time(body, 'end_ts');
  else if (!flag(body, 'disable_event_timestamp')) {
    const startUs = time(body, 'start_ts');
    const endUs = time(body, 'end_ts');
    if (startUs >= endUs) {
      throw new MeshError('INVALID_ARGUMENT', `start_ts "${body.start_ts}" must be before end_ts "${body.end_ts}"`, {
        field: 'start_ts',
      });
    }
  }
  return {
    status: options.asynchronous ? 202 : 200,
    answer: {
      status: options.asynchronous ? 'accepted' : 'up_to_date',
      feature_views: wanted.length > 0 ? wanted : known,
      message: 'features are materialised as events come in; nothing was left to do',
    },
  };
}

function time(body: Body, name: string): number {
  const text = optionalText(body, name);
  const timeUs = timeUsOf(text);
  if (timeUs !== undefined) return timeUs;
  throw new MeshError(
    'INVALID_ARGUMENT',
    text === undefined
      ? `${name} is missing; write ISO 8601 like "2026-01-02T03:04:05"`
      : `${name} "${text}" is not a time; write ISO 8601 like "2026-01-02T03:04:05"`,
    { field: name },
  );
}
