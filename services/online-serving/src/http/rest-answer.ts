import { serving } from '@millrace/contracts';
import { elementOf, type Scalar } from '@millrace/features';
import type { z } from 'zod';
import { eventTimeAt, type Matrix, statusAt, valueAt } from '../domain/matrix.ts';
import type { Plan, PlannedFeature } from '../domain/plan.ts';
import type { featureService, readAnswer } from './rest-schemas.ts';

const statusNames = Object.fromEntries(
  Object.entries(serving.ValueStatus).map(([name, number]) => [number, name]),
) as Readonly<Record<number, string>>;

const integerTypes: ReadonlySet<string> = new Set(['INT64', 'TIMESTAMP']);

/** A matrix, row by row, for people. */
export function answerOf(matrix: Matrix, int64As: 'number' | 'string'): z.output<typeof readAnswer> {
  const { plan } = matrix;
  const value = (row: number, feature: PlannedFeature) => {
    const found = valueAt(matrix, row, feature.position);
    const isInt64 = integerTypes.has(elementOf(feature.type) ?? feature.type);
    const shown = (each: Exclude<Scalar, null>) =>
      typeof each === 'bigint' || (isInt64 && int64As === 'string') ? String(each) : each;
    if (found === null) return null;
    return typeof found === 'object' ? found.map(shown) : shown(found);
  };
  return {
    feature_service: plan.name,
    version: plan.version,
    rows: Array.from(matrix.asOfUs, (asOfUs, row) => ({
      as_of: isoMicros(asOfUs),
      features: Object.fromEntries(
        plan.features.map((feature) => {
          const eventTimeUs = eventTimeAt(matrix, row, feature.view);
          return [
            feature.name,
            {
              value: value(row, feature),
              status: statusNames[statusAt(matrix, row, feature.position)] ?? 'UNSPECIFIED',
              age_ms: eventTimeUs === 0 ? null : Math.max(0, asOfUs - eventTimeUs) / 1000,
            },
          ];
        }),
      ),
    })),
  };
}

/** What can be read of a feature service. */
export function describePlan(plan: Plan): z.output<typeof featureService> {
  return {
    name: plan.name,
    version: plan.version,
    join_keys: plan.keys.map(({ name, type }) => ({ name, type })),
    request_fields: [...(plan.derivation?.requestFields ?? [])],
    features: plan.features.map(({ name, type, view, maxAgeUs }) => ({
      name,
      type,
      view: plan.views[view]?.name ?? '',
      view_version: plan.views[view]?.version ?? '',
      max_age_ms: Number.isFinite(maxAgeUs) ? maxAgeUs / 1000 : null,
    })),
  };
}

function isoMicros(timeUs: number): string {
  return `${new Date(Math.floor(timeUs / 1000)).toISOString().slice(0, -1)}${String(timeUs % 1000).padStart(3, '0')}Z`;
}
