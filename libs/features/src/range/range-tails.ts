import { lengthPart, place, type RangePart } from './range-feature.ts';
import type { RangePlan } from './range-plan.ts';

/**
 * Where a label's windows may be cut: at its first event of the last so many microseconds, if all before it were known then. Most events become known
 * within seconds, late ones within the hour.
 */
export const lateSpansUs = [5e6, 60e6, 600e6, 3900e6, 21_600e6] as const;

/** Events after the cut that are looked at one by one; a label with more is left to `asOfSql`. */
const tailEventsMax = 512;

/** The events after the first `lo` up to the first `hi`, as `arrayReduceInRanges` takes it. */
export function rangeOf(lo: string, hi: string): string {
  return `(toInt64(${lo} + 1), toUInt64(greatest(toInt64(${hi}) - toInt64(${lo}), 0)))`;
}

/** A part over ranges of all of an entity's events. */
export function rangePart({ aggregate, args }: RangePart, ranges: string, suffix = ''): string {
  if (aggregate === lengthPart.aggregate) return `arrayMap(r -> r.2, ${ranges})`;
  const arrays = args.map((arg) => (arg === place ? 'arrayEnumerate(sq)' : arg));
  return `arrayReduceInRanges('${aggregate}${suffix}', ${ranges}, ${arrays.join(', ')})`;
}

/** The same where some entity's label has events that were not known: the states of what is before the cut and of what was known after it, merged. */
export function mergedPart(part: RangePart, core: string, tail: string): string {
  const { aggregate, args } = part;
  if (aggregate === lengthPart.aggregate) return `arrayMap((r, z) -> r.2 + z.2, ${core}, ${tail})`;
  const tailArrays = args.map((arg) => (arg === place ? 'tail_place' : `tail_${arg}`));
  if (isAdded(aggregate))
    return `arrayMap((x, y) -> x + y, ${rangePart(part, core)}, ${rangePart({ aggregate, args: tailArrays }, tail)})`;
  const tails = `arrayReduceInRanges('${aggregate}State', ${tail}, ${tailArrays.join(', ')})`;
  const states = `arrayFlatten(arrayMap((x, y) -> [x, y], ${rangePart(part, core, 'State')}, ${tails}))`;
  const pairs = `arrayMap(i -> (toInt64(2 * i - 1), toUInt64(2)), arrayEnumerate(${core}))`;
  return `if(has_tail, arrayReduceInRanges('${aggregate}Merge', ${pairs}, ${states}), ${rangePart(part, core)})`;
}

/** Counts and sums of integers, exact without states. */
function isAdded(aggregate: string): boolean {
  return ['countIf', 'sum', 'sumIf'].includes(aggregate);
}

/**
 * Adds for each label where its windows are cut (`cut`: before it every event was known, so that a range says it), the known events after it
 * (`tail_…`, those of all labels one after the other), `answered`, and for each window the ranges before the cut (`r0`, …) and after it (`z0`, …).
 */
export function tailLayers({ windows, bounds, firstSpan, columns }: RangePlan): string[] {
  const los = windows.map(({ lo }) => `b${lo}`);
  const names = los.map((_, at) => `x${at}`).join(', ');
  const first = los.length === 1 ? los[0] : `arrayMap((${names}) -> least(${names}), ${los.join(', ')})`;
  const spans = bounds.slice(firstSpan).map((_, at) => `b${firstSpan + at}`);
  const upTo = ['b0', ...spans].map((hi) => `arrayMap((a, z) -> ${rangeOf('a', 'z')}, first, ${hi})`);
  const newestOf = (at: number) => `arraySlice(newest, ${at} * length(ids) + 1, length(ids))`;
  const cuts = spans.map((_, at) => `n${at} <= p, (greatest(s${at}, a), z)`);
  const spanNames = spans.flatMap((_, at) => [`s${at}`, `n${at}`]).join(', ');
  const spanArrays = spans.flatMap((span, at) => [span, newestOf(at + 1)]).join(', ');
  const tailOf = (array: string) =>
    `arrayReduceInRanges('groupArray', tails, if(has_tail, ${array}, arrayResize(${array}, 0)))`;
  const knownOf = (array: string) => `arrayFilter((x, y) -> y, arrayFlatten(${tailOf(array)}), kept)`;
  const before = (bound: string) => `arrayCount(i -> i <= ${bound}, i)`;
  return [
    `${first} AS first`,
    `arrayReduceInRanges('max', arrayConcat(${upTo.join(', ')}), sq) AS newest, arrayReduceInRanges('min', ${upTo[0]}, sq) AS oldest`,
    // nothing known at all is as cut at the start, with no tail
    `arrayMap((a, z, p, n, o, ${spanNames}) -> multiIf(n <= p, (z, z), o > p, (a, a), ${cuts.join(', ')}, (a, z)),
      first, b0, ps, ${newestOf(0)}, oldest, ${spanArrays}) AS cut_at`,
    `arrayMap(c -> c.1, cut_at) AS cut, arrayMap(c -> c.2 - c.1 <= ${tailEventsMax}, cut_at) AS answered,
      arrayMap(c -> ${rangeOf('c.1', `if(c.2 - c.1 <= ${tailEventsMax}, c.2, c.1)`)}, cut_at) AS tails, arrayExists(r -> r.2 > 0, tails) AS has_tail`,
    `arrayMap((q, p) -> arrayMap(x -> x <= p, q), ${tailOf('sq')}, ps) AS known`,
    `arrayMap((i, k) -> arrayFilter((x, y) -> y, i, k), ${tailOf('arrayEnumerate(sq)')}, known) AS places, arrayFlatten(known) AS kept`,
    [
      'arrayFlatten(places) AS tail_place',
      'arrayMap(i -> toUInt64(length(i)), places) AS sizes',
      'arrayMap((i, n) -> i - n, arrayCumSum(sizes), sizes) AS offsets',
      ...columns.map((_, at) => `${knownOf(`c${at}`)} AS tail_c${at}`),
      ...windows.map(
        ({ lo, hi }, at) => `arrayMap((a, z, c) -> ${rangeOf('a', 'least(z, c)')}, b${lo}, b${hi}, cut) AS r${at}`,
      ),
    ].join(', '),
    windows
      .map(
        ({ lo, hi }, at) =>
          `arrayMap((a, z, i, o) -> ${rangeOf(`(o + ${before('a')})`, `(o + ${before('z')})`)}, b${lo}, b${hi}, places, offsets) AS z${at}`,
      )
      .join(', '),
  ];
}
