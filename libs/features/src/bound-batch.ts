import { alignColumns } from './align.ts';
import { newParts, newSlots } from './cells/cell.ts';
import { fillCell } from './cells/operations.ts';
import { pairReader, type ReadPair } from './cells/pairs.ts';
import { entityKey } from './entity-key.ts';
import { type CompiledFilter, compileFilter } from './expression/filter.ts';
import { inputColumns } from './inputs.ts';
import type { Layout } from './layout.ts';
import type { HeadEvent } from './tiles.ts';
import type { Column, EventColumns } from './types.ts';

/** A batch's columns, resolved once: what follows is loops over typed arrays. */
export interface BoundBatch {
  /** Null when a join key is null or its column is missing. */
  entityKey(row: number): string | null;
  /** The event's contribution to every cell of the view. */
  event(row: number, timeUs: number, seq: number, index: number): HeadEvent;
}

export type Binder = (columns: EventColumns) => BoundBatch;

type ReadKey = (row: number) => string | bigint | boolean | null;

export function createBinder(layout: Layout): Binder {
  const { view } = layout;
  const texts = [...new Set(layout.cells.map(({ cell }) => cell.filter))];
  const filters = texts.map((text): CompiledFilter | undefined =>
    text === '' ? undefined : compileFilter(text, view.fields),
  );
  const filterOf = layout.cells.map(({ cell }) => texts.indexOf(cell.filter));
  const given = { pair: newSlots(2), text: '', vector: null as Uint8Array | null, timeUs: 0, seq: 0, index: 0 };
  const align = alignColumns(view.fields);
  const withInputs = inputColumns(view);

  return (batch) => {
    const columns = withInputs(align(batch));
    const keys = view.joinKeys.map(({ field }) => keyReader(columns.get(field)));
    const passes = filters.map((filter) => filter?.bind(columns));
    const reads = layout.cells.map(({ cell }): ReadPair | undefined =>
      cell.field === '' ? undefined : pairReader(columns.get(cell.field)),
    );
    const vectors = layout.cells.map(({ cell }) => {
      const column = columns.get(cell.field);
      return cell.part === 'vector' && column?.type === 'vec' ? column : undefined;
    });
    const strings = layout.cells.map(({ cell }) => {
      const column = columns.get(cell.field);
      return cell.part !== 'none' && column?.type === 'str' ? column.values : undefined;
    });
    const counted = new Uint8Array(passes.length);
    return {
      entityKey(row) {
        const values: (string | bigint | boolean)[] = [];
        for (const read of keys) {
          const value = read(row);
          if (value === null) return null;
          values.push(value);
        }
        return entityKey(view.entity, values);
      },
      event(row, timeUs, seq, index) {
        const slots = newSlots(layout.width);
        const parts = newParts(layout.parts);
        given.timeUs = timeUs;
        given.seq = seq;
        given.index = index;
        for (let f = 0; f < passes.length; f++) counted[f] = passes[f]?.(row) === false ? 0 : 1;
        for (let c = 0; c < layout.cells.length; c++) {
          if (counted[filterOf[c] as number] === 0) continue;
          const read = reads[c];
          if (read && !read(row, given.pair, 0)) continue;
          const { cell, at, partAt } = layout.cells[c] as Layout['cells'][number];
          if (cell.part !== 'none') given.text = strings[c]?.[row] ?? '';
          const vector = vectors[c];
          if (vector) given.vector = bytesAt(vector, row);
          fillCell(cell, slots, at, parts, partAt, given);
        }
        return { timeUs, seq, index, slots, parts };
      },
    };
  };
}

/** A copy: a state may outlive the batch by far. */
function bytesAt({ values, dimension }: Column & { readonly type: 'vec' }, row: number): Uint8Array {
  return new Uint8Array(values.slice(row * dimension, (row + 1) * dimension).buffer);
}

function keyReader(column: Column | undefined): ReadKey {
  if (!column || column.type === 'f64' || column.type === 'vec') return () => null;
  const { nulls } = column;
  const read = ((): ReadKey => {
    switch (column.type) {
      case 'str':
        return (row) => column.values[row] ?? null;
      case 'i64':
        return (row) => column.values[row] ?? null;
      case 'bool':
        return (row) => column.values[row] === 1;
      default:
        return column satisfies never;
    }
  })();
  return nulls ? (row) => (nulls[row] === 1 ? null : read(row)) : read;
}
