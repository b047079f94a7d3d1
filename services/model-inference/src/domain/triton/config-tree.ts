import { MeshError } from '@millrace/kernel';

/** A configuration as it was written, before its fields are known. */
export interface TreeField {
  readonly name: string;
  readonly value: TreeValue;
  /** For people: `line 3, column 5`, or in JSON the path `input[0].dims`. */
  readonly where: string;
}

export type TreeValue =
  | { readonly t: 'message'; readonly fields: readonly TreeField[]; readonly isJson: boolean }
  /** A text in quotes. */
  | { readonly t: 'text'; readonly text: string }
  /** A number, `true`, `false`, or the name of an enum's value. */
  | { readonly t: 'word'; readonly text: string };

export type TreeMessage = Extract<TreeValue, { t: 'message' }>;

export function wrongConfig(where: string, message: string, metadata: Readonly<Record<string, string>> = {}) {
  return new MeshError('INVALID_ARGUMENT', `configuration, ${where}: ${message}`, { where, ...metadata });
}
