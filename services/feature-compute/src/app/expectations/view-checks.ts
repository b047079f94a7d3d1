import { checkableFeatures, compileRowReader, type RowReader, rowView, type ViewDefinition } from '@millrace/features';
import type { RegistrySnapshot } from '@millrace/registry';
import { compileFeatureChecks, type FeatureBatch, type FeatureCheck } from '@millrace/sources';
import { compileFeatureColumns, type FeatureRow } from '../../domain/feature-columns.ts';

/** What is expected of a view version. */
export type ViewChecks = {
  readonly view: string;
  readonly version: string;
  readonly checks: readonly FeatureCheck[];
  /** Rows as Redis holds them, each as of the instant after its newest event. */
  readonly batchOfRows: (rows: readonly { readonly key: string; readonly row: Buffer }[]) => FeatureBatch;
  readonly batch: (rows: readonly FeatureRow[]) => FeatureBatch;
};

/** Undefined where nothing is expected. */
export type ViewChecksOf = (definition: ViewDefinition) => ViewChecks | undefined;

/**
 * The expectations that the registry has of a view now hold for its current version: they are no part of a version, so that a bound can be moved, or
 * a check made to warn, without filling the view again.
 */
export function createViewChecks(snapshot: () => RegistrySnapshot): ViewChecksOf {
  const known = new Map<string, { readonly of: unknown; readonly version: string; readonly checks: ViewChecks }>();
  return (definition) => {
    const { name, version } = definition;
    const current = snapshot().views.get(name);
    if (current === undefined || current.version !== version || current.spec.expectations.length === 0)
      return undefined;
    const found = known.get(name);
    if (found?.of === current.spec.expectations && found.version === version) return found.checks;
    const checks = compile(definition, current.spec.expectations);
    known.set(name, { of: current.spec.expectations, version, checks });
    return checks;
  };
}

function compile(definition: ViewDefinition, expectations: Parameters<typeof compileFeatureChecks>[0]): ViewChecks {
  const { name: view, version } = definition;
  const reader = compileRowReader(definition);
  const batch = compileFeatureColumns(definition);
  return {
    view,
    version,
    checks: compileFeatureChecks(expectations, checkableFeatures(definition)),
    batch,
    batchOfRows: (rows) => batch(rows.map(({ key, row }) => toFeatureRow(reader, key, row))),
  };
}

function toFeatureRow(reader: RowReader, name: string, bytes: Buffer): FeatureRow {
  const row = rowView(bytes);
  const eventTimeUs = reader.lastEventTimeUs(row);
  const asOfUs = Math.max(eventTimeUs + 1, reader.firstStepUs(row));
  return { name, values: reader.valuesAt(row, asOfUs) ?? [], asOfUs, eventTimeUs };
}
