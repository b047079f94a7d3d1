import { vectorOf } from '@millrace/features';
import { type Clock, MeshError } from '@millrace/kernel';
import { distanceOf, type Metric } from '../domain/distance.ts';
import type { Matrix } from '../domain/matrix.ts';
import type { Plan, PlannedFeature, PlannedView } from '../domain/plan.ts';
import type { KeyValues, RequestKey } from '../domain/request.ts';
import { type BoundSearch, bindSearch, type SearchRequest } from '../domain/search-request.ts';
import type { PlanBook } from './plan-book.ts';
import type { ReadCall, ReadFeatures } from './read-features.ts';

/** An entity that may be near: its keys, and the distance of a vector that it has or had. */
export interface Candidate {
  readonly keys: readonly (string | number | bigint | boolean)[];
  readonly distance: number;
}

export interface CandidateStore {
  /** How many vectors there are, older ones among them. NOT_READY while there is no table. */
  count(view: PlannedView, feature: string, signal: AbortSignal): Promise<number>;
  /** The `limit` nearest, the nearest first; an entity may be there more than once. */
  nearest(search: CandidateSearch, signal: AbortSignal): Promise<readonly Candidate[]>;
}

export interface CandidateSearch {
  readonly view: PlannedView;
  readonly feature: string;
  readonly vector: readonly number[];
  readonly metric: Metric;
  readonly limit: number;
  readonly exact: boolean;
}

export interface SearchAnswer {
  /** The hits' features; undefined without hits. */
  readonly matrix: Matrix | undefined;
  readonly keys: readonly RequestKey[];
  readonly distances: readonly number[];
  readonly exact: boolean;
  readonly candidates: number;
  readonly limited: boolean;
}

export type SearchFeatures = (request: SearchRequest, call: ReadCall) => Promise<SearchAnswer>;

/** Fewer vectors than this are all looked at: it takes no longer. */
const indexRowsMin = 10_000;
const candidatesPerRead = 2_000;
/** More than ClickHouse asks an index for. */
const indexLimitMax = 1_000;
/** The share by which a distance of the index may be off, as it keeps numbers in half the bits; of an exact one, by rounding to float32. */
const indexError = 0.002;
const rounding = 1e-5;

/**
 * Candidates come from ClickHouse, truth from rows: the vector of each candidate is read as it is served now, its distance computed anew, and the
 * filter asked of the values served. A candidate whose vector was replaced or is over is so put where it belongs, or is none. Hits are sure up to
 * the distance of the farthest candidate; while there are fewer than k such, four times as many candidates are asked for.
 */
export function createSearchFeatures(deps: {
  readonly plans: PlanBook;
  /** Of hits. */
  readonly readFeatures: ReadFeatures;
  /** Of candidates: counted as nobody's use. */
  readonly readCandidates: ReadFeatures;
  readonly store: CandidateStore;
  readonly clock: Clock;
  readonly rowsMax: number;
  readonly candidatesMax: number;
}): SearchFeatures {
  const { plans, readFeatures, readCandidates, store, clock, candidatesMax } = deps;
  const rowsMax = Math.min(deps.rowsMax, candidatesPerRead);

  return async (request, call) => {
    const { featureService: name, version } = request;
    const plan = plans.current(name, version) ?? (await plans.load(name, version));
    const bound = bindSearch(plan, request);
    const asOfUs = clock.nowUs();
    const read = (rows: readonly (readonly unknown[])[], reader = readCandidates) =>
      reader(
        {
          featureService: name,
          version: plan.version,
          keys: keyColumns(plan, bound, rows),
          asOfUs,
          asOfUsByRow: new Float64Array(0),
          allowPartial: false,
          allowHistory: false,
          omitMetadata: false,
        },
        call,
      );
    const vector = bound.vector ?? (await ownVector(read, bound));
    const count = await store.count(bound.view, bound.viewFeature, call.signal);
    const found = new Map<string, Hit>();
    const own = bound.entity?.join('\n');
    // far down its list an index is wrong more often, and with a filter hits are far down
    let exact = request.exact || bound.passes !== undefined || bound.metric !== 'cosine' || count < indexRowsMin;
    let limit = Math.min(Math.max(64, bound.k * (bound.passes ? 16 : 4)), candidatesMax);
    for (;;) {
      exact ||= limit > indexLimitMax;
      const search = { view: bound.view, feature: bound.viewFeature, vector, metric: bound.metric, limit, exact };
      const near = await store.nearest(search, call.signal);
      const fresh = [...new Map(near.map((each) => [each.keys.join('\n'), each.keys]))].filter(
        ([key]) => !found.has(key) && key !== own,
      );
      for (let at = 0; at < fresh.length; at += rowsMax) {
        const part = fresh.slice(at, at + rowsMax);
        const matrix = await read(part.map(([, keys]) => keys));
        for (const [row, [key, keys]] of part.entries())
          found.set(key, { keys, distance: distanceAt(matrix, row, bound, vector, keys) });
      }
      const seenAll = exact && near.length < limit;
      const farthest = near.at(-1)?.distance ?? 0;
      const slack = rounding + Math.abs(farthest) * (exact ? rounding : indexError);
      const radius = seenAll ? Number.POSITIVE_INFINITY : farthest + slack;
      const hits = [...found.values()].filter(({ distance }) => distance <= radius);
      const atEnd = seenAll || limit >= candidatesMax;
      if (hits.length >= bound.k || (atEnd && exact)) {
        const sure = (
          hits.length >= bound.k ? hits : [...found.values()].filter(({ distance }) => !Number.isNaN(distance))
        )
          .sort((x, y) => x.distance - y.distance)
          .slice(0, bound.k);
        const matrix =
          sure.length === 0
            ? undefined
            : await read(
                sure.map(({ keys }) => keys),
                readFeatures,
              );
        return {
          matrix,
          keys: keyColumns(
            plan,
            bound,
            sure.map(({ keys }) => keys),
          ),
          distances: sure.map(({ distance }) => distance),
          exact,
          candidates: found.size,
          limited: hits.length < bound.k && !seenAll,
        };
      }
      // an index that has no more is not asked again
      if (atEnd || near.length < limit) exact = true;
      else limit = Math.min(limit * 4, candidatesMax);
    }
  };
}

interface Hit {
  readonly keys: readonly (string | number | bigint | boolean)[];
  /** NaN of one that is no hit. */
  readonly distance: number;
}

function distanceAt(matrix: Matrix, row: number, bound: BoundSearch, query: readonly number[], keys: Hit['keys']) {
  const vector = vectorAt(matrix, row, bound.feature);
  if (!vector || (bound.passes && !bound.passes(matrix, row, keys))) return Number.NaN;
  return distanceOf(bound.metric, vector, query);
}

function vectorAt(matrix: Matrix, row: number, { column, position, staleAction }: PlannedFeature) {
  const status = matrix.bytes[matrix.statusesAt + row * matrix.plan.features.length + position];
  const bytes = matrix.vectors[column]?.[row];
  const isThere = status === 1 || (status === 4 && staleAction === 'serve');
  return isThere && bytes ? vectorOf(bytes).map(Number) : undefined;
}

async function ownVector(read: (rows: readonly (readonly unknown[])[]) => Promise<Matrix>, bound: BoundSearch) {
  const vector = vectorAt(await read([bound.entity ?? []]), 0, bound.feature);
  if (vector) return vector;
  throw new MeshError(
    'INVALID_ARGUMENT',
    `entity "${bound.entity?.join(', ')}" has no "${bound.feature.name}" to search by; give a vector`,
    { feature: bound.feature.name },
  );
}

/** Columns in the plan's order; rows have the view's. */
function keyColumns(plan: Plan, { view }: BoundSearch, rows: readonly (readonly unknown[])[]): RequestKey[] {
  return plan.keys.map(({ name, type }) => {
    const at = view.definition.joinKeys.findIndex((key) => key.name === name);
    const kind = type === 'STRING' || type === 'BOOL' ? type : 'INT64';
    return {
      name,
      kind,
      values: rows.map((row) => row[at]) as unknown as KeyValues as RequestKey['values'],
      nullRow: -1,
    };
  });
}
