import { trainingSets } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { createRandomState, encodeLabels, type Label, type RandomState } from '@millrace/stats';

const { RANDOM, STRATIFIED, BALANCED } = trainingSets.SamplingKind;

/**
 * The rows that a sampling takes, ascending: for a class, or for all, the first of `RandomState(seed).permutation(rows)`. Classes come in sorted order, from
 * one generator; of STRATIFIED each has its share rounded down and the largest remainders one row more.
 */
export function sampleRows(
  sampling: trainingSets.TrainingSetSampling,
  rows: number,
  seed: number,
  classes: readonly Label[] | undefined,
): Int32Array {
  const random = createRandomState(seed);
  if (sampling.kind === RANDOM) {
    const wanted = wantedRows(sampling, rows);
    return random.permutation(rows).slice(0, wanted).sort();
  }
  if (classes === undefined || (sampling.kind !== STRATIFIED && sampling.kind !== BALANCED))
    throw new MeshError('INVALID_ARGUMENT', 'this kind of sampling needs a column', {});
  const { codes, counts } = encodeLabels(classes, 'classes');
  const perClass =
    sampling.kind === STRATIFIED
      ? largestRemainders(counts, wantedRows(sampling, rows), rows)
      : balanced(counts, sampling);
  const members = Array.from(counts, (): number[] => []);
  for (const [row, code] of codes.entries()) members[code]?.push(row);
  return Int32Array.from(members.flatMap((of, code) => some(random, of, perClass[code] ?? 0))).sort();
}

function some(random: RandomState, rows: readonly number[], wanted: number): number[] {
  return Array.from(random.permutation(rows.length).subarray(0, wanted), (place) => rows[place] ?? 0);
}

function wantedRows({ rows: asked, share }: trainingSets.TrainingSetSampling, rows: number): number {
  const wanted = asked > 0n ? Number(asked) : Math.round(share * rows);
  if (!(wanted >= 1) || wanted > rows)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `a sample of ${wanted} of ${rows} labels cannot be taken; ask for 1 to ${rows} rows or a share above 0 and at most 1`,
      { wanted, rows },
    );
  return wanted;
}

function largestRemainders(counts: Int32Array, wanted: number, rows: number): number[] {
  const shares = Array.from(counts, (count) => (count / rows) * wanted);
  const taken = shares.map(Math.floor);
  const missing = wanted - taken.reduce((sum, count) => sum + count, 0);
  const byRemainder = [...shares.keys()].sort(
    (x, y) => (shares[y] ?? 0) - (taken[y] ?? 0) - ((shares[x] ?? 0) - (taken[x] ?? 0)) || x - y,
  );
  for (const code of byRemainder.slice(0, missing)) taken[code] = (taken[code] ?? 0) + 1;
  return taken;
}

function balanced(counts: Int32Array, { rows }: trainingSets.TrainingSetSampling): number[] {
  const rarest = Math.min(...counts);
  const wanted = rows > 0n ? Number(rows) : rarest;
  if (wanted > rarest)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `${wanted} rows of each class cannot be taken: the rarest has ${rarest}; ask for at most that many`,
      { wanted, rarest },
    );
  return Array.from(counts, () => wanted);
}
