import type { serving } from '@millrace/contracts';
import type { FeaturesRead } from './features-read.ts';

/** Reads that can be one: the same features of the same version, by the same keys, under the same conditions. */
export function readGroupOf(request: serving.GetFeaturesRequest): string {
  const keys = request.keys.map(({ name, strings, int64s, bools }) => [
    name,
    strings.length > 0 ? 's' : int64s.length > 0 ? 'i' : bools.length > 0 ? 'b' : '',
  ]);
  const data = request.requestData.map(({ name }) => name);
  const { featureService, version, allowPartial, allowHistory, omitMetadata } = request;
  return JSON.stringify([featureService, version, allowPartial, allowHistory, omitMetadata, keys, data]);
}

/** One request for the rows of all, in their order. They have a read time for each row, and request data that is numbers. */
export function mergeReads(
  requests: readonly serving.GetFeaturesRequest[],
  rowsByRequest: readonly number[],
): serving.GetFeaturesRequest {
  const first = requests[0] as serving.GetFeaturesRequest;
  return {
    ...first,
    keys: first.keys.map(({ name }, at) => ({
      name,
      strings: requests.flatMap(({ keys }) => keys[at]?.strings ?? []),
      int64s: requests.flatMap(({ keys }) => keys[at]?.int64s ?? []),
      bools: requests.flatMap(({ keys }) => keys[at]?.bools ?? []),
      nulls: mergeNulls(
        requests.map(({ keys }) => keys[at]?.nulls ?? Buffer.alloc(0)),
        rowsByRequest,
      ),
    })),
    asOfUsByRow: requests.flatMap(({ asOfUsByRow }) => asOfUsByRow),
    requestData: first.requestData.map((column, at) => ({
      ...column,
      doubles: requests.flatMap(({ requestData }) => requestData[at]?.doubles ?? []),
    })),
  };
}

function mergeNulls(nulls: readonly Buffer[], rowsByRequest: readonly number[]): Buffer {
  if (nulls.every(({ length }) => length === 0)) return Buffer.alloc(0);
  return Buffer.concat(nulls.map((own, at) => (own.length === 0 ? Buffer.alloc(rowsByRequest[at] ?? 0) : own)));
}

/** What each request would have been answered; views of the whole. */
export function splitRead(response: FeaturesRead, rowsByRequest: readonly number[]): FeaturesRead[] {
  const doubles = response.features.filter(({ block }) => block === 1).length;
  const int64s = response.features.filter(({ block }) => block === 2).length;
  const all = response.features.length;
  let from = 0;
  return rowsByRequest.map((rows) => {
    const to = from + rows;
    const part: FeaturesRead = {
      ...response,
      doubles: response.doubles.subarray(from * doubles, to * doubles),
      int64s: response.int64s.subarray(from * int64s, to * int64s),
      statuses: response.statuses.subarray(from * all, to * all),
      views: response.views.map((view) => ({
        ...view,
        eventTimesUs: view.eventTimesUs.subarray(from, to),
        positions: view.positions.subarray(from, to),
        knownTimesUs: view.knownTimesUs.subarray(from, to),
      })),
    };
    from = to;
    return part;
  });
}
