import { quote } from '@millrace/kernel';
import type { JsonObject } from './parse-json.ts';
import { type Problem, problem } from './problem.ts';

export function notCorrectable(source: string): Problem {
  return problem(
    'INVALID_ARGUMENT',
    '',
    `events of source "${source}" stay as they are, so none can be deleted; a source whose events may be corrected and deleted is defined with changes: upsert`,
  );
}

export function absent(name: string, value: unknown, object: JsonObject): Problem {
  if (value === null) {
    return problem(
      'NULL_NOT_ALLOWED',
      name,
      `field "${name}" is null but not nullable; send a value or make the field nullable`,
    );
  }
  return problem(
    'MISSING_FIELD',
    name,
    `field "${name}" is missing (the event has ${quote(Object.keys(object).join(', '))}); send it or make the field nullable`,
  );
}

export function noEventTime(field: string, given: unknown): Problem {
  if (field === '')
    return problem(
      'MISSING_FIELD',
      'event_time_us',
      'the event has no event time; set event_time_us, as the source names no event-time field',
    );
  if (given === null)
    return problem(
      'NULL_NOT_ALLOWED',
      field,
      `event-time field "${field}" is null; send UTC microseconds or RFC 3339 text`,
    );
  return problem(
    'MISSING_FIELD',
    field,
    `event-time field "${field}" is missing; send UTC microseconds or RFC 3339 text`,
  );
}
