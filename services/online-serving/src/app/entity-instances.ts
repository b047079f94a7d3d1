import { entityKey } from '@millrace/hot';
import { fillUnkeyed } from '../domain/evaluate.ts';
import type { Matrix } from '../domain/matrix.ts';
import type { LookupKey, Plan, PlannedEntity, PlannedLookup, PlannedView, ReadValue } from '../domain/plan.ts';
import type { BoundKeys, RequestKey } from '../domain/request.ts';
import type { EntityRead } from './row-store.ts';

export type Instances = {
  readonly reads: readonly EntityRead[];
  /** The first row of the request that means an instance; each entity's next row after a row, -1 after the last. */
  readonly firstRow: readonly number[];
  readonly nextRow: ReadonlyMap<PlannedEntity, Int32Array>;
};

/** Every distinct entity instance of the request once, and which rows mean it. */
export function instancesOf(plan: Plan, bound: BoundKeys): Instances {
  const reads: EntityRead[] = [];
  const firstRow: number[] = [];
  const nextRow = new Map<PlannedEntity, Int32Array>();
  for (const entity of plan.entities) {
    const next = new Int32Array(bound.rows).fill(-1);
    nextRow.set(entity, next);
    const columns = entity.keys.map((key) => (bound.columns[key] as RequestKey).values);
    const known = new Map<string, number>();
    const values = new Array<string | number | bigint | boolean>(columns.length);
    for (let row = bound.rows - 1; row >= 0; row--) {
      for (let i = 0; i < columns.length; i++) values[i] = columns[i]?.[row] as string | number | bigint | boolean;
      const key = entityKey(entity.name, values);
      const instance = known.get(key);
      if (instance === undefined) {
        known.set(key, reads.length);
        reads.push({ key, entity });
        firstRow.push(row);
      } else {
        next[row] = firstRow[instance] as number;
        firstRow[instance] = row;
      }
    }
  }
  return { reads, firstRow, nextRow };
}

/** The same for a level of lookups, once what they go by is in the matrix. Fills in the values of rows that have no key. */
export function lookedUpInstances(
  level: readonly PlannedLookup[],
  matrix: Matrix,
  request: readonly ReadValue[],
  bound: BoundKeys,
): Instances {
  const given = bound.columns.map(({ values }) => values);
  const reads: EntityRead[] = [];
  const firstRow: number[] = [];
  const nextRow = new Map<PlannedEntity, Int32Array>();
  for (const { entity, keysOf } of level) {
    const keys = keysOf(matrix, request, given);
    const views = entity.views.map((index) => matrix.plan.views[index] as PlannedView);
    for (const index of entity.views) matrix.lookupKeys?.set(index, keys);
    const next = new Int32Array(matrix.rows).fill(-1);
    nextRow.set(entity, next);
    const known = new Map<string, number>();
    for (let row = matrix.rows - 1; row >= 0; row--) {
      const values = keys[row] as LookupKey;
      if (typeof values === 'number') {
        for (const view of views) fillUnkeyed(matrix, view, row, values);
        continue;
      }
      const key = entityKey(entity.name, values);
      const instance = known.get(key);
      if (instance === undefined) {
        known.set(key, reads.length);
        reads.push({ key, entity });
        firstRow.push(row);
      } else {
        next[row] = firstRow[instance] as number;
        firstRow[instance] = row;
      }
    }
  }
  return { reads, firstRow, nextRow };
}
