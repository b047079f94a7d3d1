import { compute, serving } from '@millrace/contracts';
import type { FullMesh } from './full-mesh.ts';

/** Builds a training set and gives its file and record. */
export async function trainingSetOf(mesh: FullMesh, request: Partial<compute.BuildTrainingSetRequest>) {
  const given = compute.BuildTrainingSetRequest.fromPartial({ complete: true, withStatuses: true, ...request });
  const pieces: Buffer[] = [];
  let record: compute.TrainingSetRecord | undefined;
  for await (const { part } of mesh.clients.compute.buildTrainingSet(given)) {
    if (part?.$case === 'parquet') pieces.push(Buffer.from(part.value));
    if (part?.$case === 'record') record = part.value;
  }
  return { bytes: Buffer.concat(pieces), record };
}

export type Cell = { readonly value: unknown; readonly status: number };

/** The values of an answer by their names, row by row, as a training set has them. */
export function cellsOf(response: serving.GetFeaturesResponse, rows: number): ReadonlyMap<string, Cell>[] {
  const width = [0, 0, 0, 0];
  for (const { block } of response.features) width[block] = (width[block] ?? 0) + 1;
  return Array.from({ length: rows }, (_, row) => new Map(response.features.map((feature) => cell(feature, row))));

  function cell(feature: serving.FeatureColumn, row: number): [string, Cell] {
    const { name, type, block, column } = feature;
    const status = response.statuses[row * response.features.length + response.features.indexOf(feature)] ?? 0;
    const place = row * (width[block] ?? 0) + column;
    const text = response.strings[column]?.values[row];
    const found = block === 1 ? response.doubles[place] : block === 2 ? response.int64s[place] : text;
    const isThere = status === serving.ValueStatus.PRESENT || status === serving.ValueStatus.DEFAULTED;
    const plain = type === 'BOOL' ? found === 1n : typeof found === 'bigint' ? Number(found) : found;
    return [name, { value: isThere ? plain : null, status }];
  }
}

export function statusName(status: number | undefined): string | undefined {
  return Object.entries(serving.ValueStatus).find(([, number]) => number === status)?.[0];
}

/** 64-bit integers come as texts. */
export function plainValue(value: unknown): unknown {
  return typeof value === 'string' && /^-?\d+$/.test(value) ? Number(value) : value;
}
