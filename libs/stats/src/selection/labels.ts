import { MeshError } from '@millrace/kernel';

/** A class or a group of a row: all of one kind in a column. */
export type Label = string | number | bigint | boolean;

/** A column of labels as small whole numbers. */
export interface EncodedLabels {
  /** For each row the place of its label among the sorted distinct labels. */
  readonly codes: Int32Array;
  /** Rows of each distinct label, in their order. */
  readonly counts: Int32Array;
}

/** Distinct labels sorted as NumPy's `unique` does: numbers by value, texts by code point. INVALID_ARGUMENT when kinds are mixed. */
export function encodeLabels(labels: readonly Label[], what: string): EncodedLabels {
  const kinds = new Set(labels.map((label) => typeof label));
  if (kinds.size > 1)
    throw new MeshError('INVALID_ARGUMENT', `${what} are of several kinds (${[...kinds].join(', ')}); make them one`, {
      kinds: [...kinds].join(','),
    });
  if (labels.some((label) => typeof label === 'number' && Number.isNaN(label)))
    throw new MeshError('INVALID_ARGUMENT', `${what} have a value that is not a number; fill it or leave the row out`);
  const sorted = [...new Set(labels)].sort(inOrder);
  const codeOf = new Map(sorted.map((label, code) => [label, code]));
  const codes = Int32Array.from(labels, (label) => codeOf.get(label) ?? 0);
  const counts = new Int32Array(sorted.length);
  for (const code of codes) counts[code] = (counts[code] as number) + 1;
  return { codes, counts };
}

function inOrder(x: Label, y: Label): number {
  // code points and UTF-8 bytes sort alike; UTF-16 units do not
  if (typeof x === 'string' && typeof y === 'string') return Buffer.compare(Buffer.from(x), Buffer.from(y));
  return x < y ? -1 : x > y ? 1 : 0;
}
