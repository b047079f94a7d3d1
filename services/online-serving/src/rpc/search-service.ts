import { search, serving } from '@millrace/contracts';
import { bindService, type ServiceBinding } from '@millrace/rpc';
import type { SearchFeatures } from '../app/search-features.ts';
import type { Metric } from '../domain/distance.ts';
import { encodeMatrix } from '../domain/matrix.ts';
import type { RequestKey } from '../domain/request.ts';

const { UNSPECIFIED, COSINE, L2, DOT } = search.DistanceMetric;
const metrics: Readonly<Record<search.DistanceMetric, Metric>> = {
  [UNSPECIFIED]: 'cosine',
  [COSINE]: 'cosine',
  [L2]: 'l2',
  [DOT]: 'dot',
};

/** SearchService over gRPC. */
export function searchService(searchFeatures: SearchFeatures): ServiceBinding {
  return bindService(search.SearchServiceService, {
    async searchFeatures(request, context) {
      const given = { ...request, metric: metrics[request.metric] ?? 'cosine', entity: request.entity.map(toKey) };
      const { matrix, keys, ...answer } = await searchFeatures(given, context);
      return {
        ...answer,
        distances: [...answer.distances],
        keys: keys.map(fromKey),
        features: matrix && serving.GetFeaturesResponse.decode(encodeMatrix(matrix)),
      };
    },
  });
}

function toKey({ name, strings, int64s, bools }: serving.KeyColumn): RequestKey {
  if (strings.length > 0) return { name, kind: 'STRING', values: strings, nullRow: -1 };
  if (bools.length > 0) return { name, kind: 'BOOL', values: bools, nullRow: -1 };
  const values = int64s.map((value) => (Number.isSafeInteger(Number(value)) ? Number(value) : value));
  return { name, kind: 'INT64', values, nullRow: -1 };
}

function fromKey({ name, kind, values }: RequestKey): serving.KeyColumn {
  const column = { name, strings: [], int64s: [], bools: [], nulls: Buffer.alloc(0) };
  if (kind === 'STRING') return { ...column, strings: values.map(String) };
  if (kind === 'BOOL') return { ...column, bools: values.map(Boolean) };
  return { ...column, int64s: values.map((value) => BigInt(value)) };
}
