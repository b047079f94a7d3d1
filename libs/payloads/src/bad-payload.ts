import type { Reason } from '@millrace/kernel';

/** Why bytes cannot be read; a class, so that `instanceof` tells it from an event's fields. */
export class BadPayload {
  readonly reason: Reason;
  /** Empty when no field is at fault. */
  readonly field: string;
  readonly message: string;

  constructor(reason: Reason, field: string, message: string) {
    this.reason = reason;
    this.field = field;
    this.message = message;
  }
}

/** Thrown while decoding, caught at its edge. */
export class Unreadable extends Error {
  readonly bad: BadPayload;

  constructor(reason: Reason, field: string, message: string) {
    super(message);
    this.bad = new BadPayload(reason, field, message);
  }
}

/** A schema that is not one, or not one for events. */
export class SchemaError extends Error {}
