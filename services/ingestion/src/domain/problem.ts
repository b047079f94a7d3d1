import type { Reason } from '@millrace/kernel';

/** Why an event is rejected; `field` is empty when no field is at fault. A class, so that `instanceof` tells it from a value. */
export class Problem {
  readonly reason: Reason;
  readonly field: string;
  readonly message: string;
  /** The expectation that was not met; empty when the schema was not. */
  readonly expectation: string;

  constructor(reason: Reason, field: string, message: string, expectation: string) {
    this.reason = reason;
    this.field = field;
    this.message = message;
    this.expectation = expectation;
  }
}

export function problem(reason: Reason, field: string, message: string, expectation = ''): Problem {
  return new Problem(reason, field, message, expectation);
}

export function typeName(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}
