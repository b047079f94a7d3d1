import type { definitions } from '@millrace/contracts';

/** A value of a payload that a source can have as a field. */
export type PayloadField = {
  /** The source's name for it: lowercase, nested ones joined by `_`. */
  readonly field: string;
  /** Where it lies in the payload: names joined by dots. */
  readonly path: string;
  readonly type: definitions.FieldType;
  readonly nullable: boolean;
  /** What the payload's schema says of a value that is left out. */
  readonly fallback?: string | number | boolean | undefined;
};

/** A value of a payload that is none of a source's types. */
export type Unfit = { readonly field: string; readonly path: string; readonly why: string };

export type PayloadFields = { readonly fields: readonly PayloadField[]; readonly unfit: readonly Unfit[] };
