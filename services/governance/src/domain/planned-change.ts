import type { definitions } from '@millrace/contracts';
import type { ViewDefinition } from '@millrace/features';
import type { Kind } from '@millrace/registry';

export type Action = 'ADDED' | 'CHANGED' | 'METADATA_CHANGED' | 'UNCHANGED' | 'REMOVED';

export interface PlannedChange {
  readonly kind: Kind;
  readonly name: string;
  readonly action: Action;
  readonly oldVersion: string;
  readonly newVersion: string;
  readonly differences: readonly string[];
  readonly needsBackfill: boolean;
  readonly breaks: readonly Break[];
  /** Of a source. */
  readonly schemaChanges?: readonly SchemaChange[];
  /** With references resolved to versions; undefined for a removal. */
  readonly definition?: definitions.Definition;
  /** For a feature view. */
  readonly resolved?: ViewDefinition;
}

/** A consumer outside the set; `fatal` when it cannot go on, else it keeps the old version. */
export interface Break {
  readonly consumer: string;
  readonly why: string;
  readonly fatal: boolean;
}

/** One change of a source's schema, and what it means. */
export interface SchemaChange {
  readonly field: string;
  readonly what: string;
  readonly impact: 'SAFE' | 'NEEDS_BACKFILL' | 'BREAKING';
  readonly backward: boolean;
  readonly forward: boolean;
  /** The version that it is compared with. */
  readonly against: string;
  /** True when the compatibility allows it. */
  readonly allowed: boolean;
  /** The compatibility. */
  readonly rule: string;
  readonly affected: readonly string[];
}
