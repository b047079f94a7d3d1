import type { Cell, WindowPart } from './cell.ts';
import { RunningCounts } from './running-counts.ts';
import { RunningDistinct } from './running-distinct.ts';

/** Empty parts of a window's accumulator; null where a layout has none. */
export function newWindowParts(
  cells: readonly { readonly cell: Cell; readonly partAt: number }[],
  count: number,
): WindowPart[] | null {
  if (count === 0) return null;
  const parts = new Array<WindowPart>(count).fill(null);
  for (const { cell, partAt } of cells) {
    if (cell.kind === 'distinct') parts[partAt] = new RunningDistinct();
    else if (cell.kind === 'buckets') parts[partAt] = new RunningCounts();
  }
  return parts;
}

export function clearWindowParts(parts: WindowPart[]): void {
  for (let i = 0; i < parts.length; i++) {
    const part = parts[i] ?? null;
    if (part !== null && typeof part === 'object' && 'clear' in part) part.clear();
    else parts[i] = null;
  }
}
