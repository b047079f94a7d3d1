import type { definitions } from '@millrace/contracts';
import { type Kind, kindOfSpec } from '@millrace/registry';

/** Something wrong with a definition. */
export interface Problem {
  readonly file: string;
  /** `<kind> "<name>"`. */
  readonly definition: string;
  readonly field: string;
  readonly message: string;
}

export function label(kind: Kind, name: string): string {
  return `${kind} "${name}"`;
}

export function labelOf({ name, spec }: definitions.Definition): string {
  return spec ? label(kindOfSpec(spec), name) : `definition "${name}"`;
}

/** Collects what is wrong with one definition. */
export type Report = (field: string, message: string) => void;
