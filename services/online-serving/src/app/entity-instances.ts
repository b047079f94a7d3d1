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
  const book = createInstanceBook(bound.rows);
  for (const entity of plan.entities) {
    const mean = book.begin(entity);
    const columns = entity.keys.map((key) => (bound.columns[key] as RequestKey).values);
    const values = new Array<string | number | bigint | boolean>(columns.length);
    for (let row = bound.rows - 1; row >= 0; row--) {
      for (let i = 0; i < columns.length; i++) values[i] = columns[i]?.[row] as string | number | bigint | boolean;
      mean(row, values);
    }
  }
  return book;
}

/** The same for a level of lookups, once what they go by is in the matrix. Fills in the values of rows that have no key. */
export function lookedUpInstances(
  level: readonly PlannedLookup[],
  matrix: Matrix,
  request: readonly ReadValue[],
  bound: BoundKeys,
): Instances {
  const given = bound.columns.map(({ values }) => values);
  const book = createInstanceBook(matrix.rows);
  for (const { entity, keysOf } of level) {
    const mean = book.begin(entity);
    const keys = keysOf(matrix, request, given);
    const views = entity.views.map((index) => matrix.plan.views[index] as PlannedView);
    for (const index of entity.views) matrix.lookupKeys?.set(index, keys);
    for (let row = matrix.rows - 1; row >= 0; row--) {
      const values = keys[row] as LookupKey;
      if (typeof values === 'number') for (const view of views) fillUnkeyed(matrix, view, row, values);
      else mean(row, values);
    }
  }
  return book;
}

/** Takes the rows of an entity, the last one first, by the values of their keys. */
type Mean = (row: number, values: readonly (string | number | bigint | boolean)[]) => void;

function createInstanceBook(rows: number): Instances & { begin(entity: PlannedEntity): Mean } {
  const reads: EntityRead[] = [];
  const firstRow: number[] = [];
  const nextRow = new Map<PlannedEntity, Int32Array>();
  return {
    reads,
    firstRow,
    nextRow,
    begin(entity) {
      const next = new Int32Array(rows).fill(-1);
      nextRow.set(entity, next);
      const known = new Map<string, number>();
      return (row, values) => {
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
      };
    },
  };
}
