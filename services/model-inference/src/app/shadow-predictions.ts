import type { definitions } from '@millrace/contracts';
import { assembleVectors, nulledWhenStale, type Vectors } from '../domain/vector.ts';
import type { ReadyModel } from './assign-rows.ts';
import type { ModelBook } from './model-book.ts';
import { type ShadowPredictions, scoresOf } from './predict.ts';
import { shadowCall } from './shadow-call.ts';
import type { ShadowQueue } from './shadow-queue.ts';

export function createShadowPredictions(deps: {
  readonly book: Pick<ModelBook, 'find'>;
  readonly queue: ShadowQueue;
  readonly featureService: (name: string) => definitions.FeatureService | undefined;
}): ShadowPredictions {
  return (route, parts, unitOf, asOfByRowUs, predict) => {
    for (const part of parts) {
      const shadows = part.members.map((row) => route.shadowOf(unitOf(row)));
      const at = shadows.flatMap((shadow, index) => (shadow ? [index] : []));
      const candidate = at[0] === undefined ? undefined : shadows[at[0]];
      if (!candidate) continue;
      const model = deps.book.find(candidate.model, candidate.version);
      // what is not loaded does not shadow, and the candidate is not compared with itself
      if (model?.state.t !== 'ready' || (model.name === part.model.name && model.version === part.model.version))
        continue;
      const ready: ReadyModel = { ...model, loaded: model.state.loaded };
      const stable = { scores: at.map((index) => part.scores[index] ?? Number.NaN), ms: part.runMs };
      shadowCall(route, deps.queue, stable, part.vectors.values.byteLength, async (caller) => {
        if (ready.spec.featureService !== part.model.spec.featureService) {
          const rows = at.map((index) => part.members[index] as number);
          return (await predict(ready, rows, caller)).scores;
        }
        const nulled = nulledWhenStale(deps.featureService(ready.spec.featureService));
        const features = part.features && { response: part.features, nulledWhenStale: nulled };
        const asOfUs = Float64Array.from(part.members, (row) => asOfByRowUs[row] ?? 0);
        const all = assembleVectors(ready, features, part.requestData, asOfUs);
        return scoresOf(ready, rowsOf(all, at), caller);
      });
    }
  };
}

function rowsOf(vectors: Vectors, at: readonly number[]): Vectors {
  if (at.length === vectors.rows) return vectors;
  const width = vectors.names.length;
  const pick = <T extends Float64Array | Uint8Array>(from: T, to: T): T => {
    for (const [row, index] of at.entries()) to.set(from.subarray(index * width, (index + 1) * width), row * width);
    return to;
  };
  const cells = at.length * width;
  return {
    ...vectors,
    rows: at.length,
    values: pick(vectors.values, new Float64Array(cells)),
    statuses: pick(vectors.statuses, new Uint8Array(cells)),
    agesUs: pick(vectors.agesUs, new Float64Array(cells)),
  };
}
