import { type Key, keys, labelTable, lateUs, source } from './world.ts';

const hour = 3_600e6;
/** Sizes and hops of the windows, as the definitions resolve them. */
const windows = [
  [hour, 300e6],
  [3 * hour, 900e6],
  [24 * hour, hour],
  [168 * hour, 6 * hour],
] as const;
const columns = [
  'n_1h',
  'mean_1h',
  'max_1h',
  'n_3h',
  'mean_3h',
  'n_24h',
  'mean_24h',
  'sd_24h',
  'mean_7d',
  'distance_7d',
];

const start = ([size, hop]: readonly [number, number]) => `greatest(0, intDiv(t - ${size}, ${hop}) * ${hop})`;

/** What a person would write first: labels joined with the events of their longest window, conditional aggregates. */
export function joinByHand(key: Key, labels: string): string {
  const within = (at: number) => `e.us >= s.w${at}`;
  const mean = (at: number) => `avgIf(e.delay, ${within(at)})`;
  const deviation = `if(countIf(e.delay, ${within(2)}) > 1, stddevSampStableIf(e.delay, ${within(2)}), NULL)`;
  return `SELECT s.label AS label, countIf(${within(0)}) AS n_1h, ${mean(0)} AS mean_1h, maxIf(e.delay, ${within(0)}) AS max_1h,
      countIf(${within(1)}) AS n_3h, ${mean(1)} AS mean_3h, countIf(${within(2)}) AS n_24h, ${mean(2)} AS mean_24h, ${deviation} AS sd_24h,
      ${mean(3)} AS mean_7d, sum(e.distance) AS distance_7d
    FROM (SELECT ${key}, delay, distance, toUnixTimestamp64Micro(_event_time) AS us, toUnixTimestamp64Micro(_known_time) AS known FROM events_${source}) AS e
    INNER JOIN (SELECT label, ${key}, toUnixTimestamp64Micro(label_time) AS t, ${windows.map((window, at) => `${start(window)} AS w${at}`).join(', ')} FROM ${labels}) AS s
      ON e.${key} = s.${key}
    WHERE e.us < s.t AND e.known <= s.t AND e.us >= s.w3 GROUP BY s.label`;
}

/**
 * The best that was found. Written for these ten features, these windows and this lateness (nothing is known later than an hour and two
 * seconds): an entity's events as arrays, windows as ranges up to a cut 3,700 s before the label, where everything was known; the events after it one by
 * one. Plain sums and sums of squares in place of states.
 */
export function rangesByHand(key: Key): string {
  const bounds = ['t', `t - ${lateUs + 100e6}`, ...windows.map(start)];
  const tagged = bounds.map((bound, at) => `arrayMap(t -> (${bound}) * 8 + ${at}, lt)`);
  const range = (lo: string, hi: string) =>
    `(toInt64(${lo} + 1), toUInt64(greatest(toInt64(${hi}) - toInt64(${lo}), 0)))`;
  const reduce = (fn: string, array: string) => `arrayReduceInRanges('${fn}', cores, ${array})`;
  const of = (array: string, window: number) => `arraySlice(${array}, ${window} * length(ids) + 1, length(ids))`;
  const slice = (array: string) => `arrayReduceInRanges('groupArray', tails, ${array})`;
  const tail = (array: string) =>
    `arrayMap((k, x, t) -> arrayFilter((x, k) -> k <= t, x, k), tail_kn, ${slice(array)}, lt)`;
  const inHour = 'arrayMap((p, lo) -> arrayMap(i -> i > lo, p), tail_place, b2)';
  const sums = windows.map((_, at) => {
    const kept = at === 0 ? 'arraySum(arrayMap((x, h) -> x * h, x, h))' : 'arraySum(x)';
    const add = (array: string, tailed: string) =>
      `arrayMap((c, x, h) -> c + ${kept}, ${of(array, at)}, ${tailed}, in_hour)`;
    const count = at === 0 ? 'arraySum(h)' : 'length(h)';
    return `arrayMap((c, h) -> c.2 + ${count}, ${of('cores', at)}, in_hour) AS n${at}, ${add('sum_d', 'tail_d')} AS d${at}, ${add('sum_ok', 'tail_ok')} AS k${at}`;
  });
  const layers = [
    `arraySort(arrayConcat(arrayMap(t -> t * 8 + 7, ts), ${tagged.join(', ')})) AS merged`,
    'arrayMap(x -> bitAnd(x, 7) = 7, merged) AS event',
    'arrayFilter((c, y) -> NOT y, arrayCumSum(event), event) AS counts, arrayMap(x -> bitAnd(x, 7), arrayFilter((x, y) -> NOT y, merged, event)) AS tag',
    bounds.map((_, at) => `arrayFilter((c, g) -> g = ${at}, counts, tag) AS b${at}`).join(', '),
    `arrayConcat(${windows.map((_, at) => `arrayMap((lo, cut) -> ${range('lo', 'cut')}, b${at + 2}, b1)`).join(', ')}) AS cores, arrayMap((cut, hi) -> ${range('cut', 'hi')}, b1, b0) AS tails`,
    `${slice('kn')} AS tail_kn`,
    `${tail('arrayEnumerate(kn)')} AS tail_place, ${tail('d')} AS tail_d, ${tail('ok')} AS tail_ok, ${tail('x')} AS tail_x,
      ${reduce('sum', 'd')} AS sum_d, ${reduce('sum', 'ok')} AS sum_ok, arrayReduceInRanges('sum', arraySlice(cores, 2 * length(ids) + 1, length(ids)), arrayMap(x -> x * x, d)) AS sum_dd,
      arrayReduceInRanges('sum', arraySlice(cores, 3 * length(ids) + 1), x) AS sum_x, arrayReduceInRanges('maxIf', arraySlice(cores, 1, length(ids)), d, ok) AS max_d,
      arrayReduceInRanges('sum', arraySlice(cores, 1, length(ids)), ok) AS max_n`,
    `${inHour} AS in_hour`,
    [
      ...sums,
      'arrayMap((c, x) -> c + arraySum(arrayMap(x -> x * x, x)), sum_dd, tail_d) AS dd',
      'arrayMap((c, x) -> c + arraySum(x), sum_x, tail_x) AS xx',
      "arrayMap((n, m, x, o, h) -> arrayReduce('max', arrayConcat(if(n > 0, [m], []), arrayFilter((x, y) -> y, x, arrayMap((o, h) -> o AND h, o, h)))), max_n, max_d, tail_d, tail_ok, in_hour) AS mx",
    ].join(', '),
  ];
  const grouped = `SELECT l.ids AS ids, l.lt AS lt, h.ts AS ts, h.kn AS kn, h.d AS d, h.ok AS ok, h.x AS x
    FROM (SELECT ${key}, groupArray(label) AS ids, groupArray(t) AS lt FROM (SELECT ${key}, label, toUnixTimestamp64Micro(label_time) AS t FROM ${labelTable} ORDER BY t) GROUP BY ${key}) AS l
    LEFT JOIN (SELECT ${key}, groupArray(us) AS ts, groupArray(known) AS kn, groupArray(v) AS d, groupArray(o) AS ok, groupArray(distance) AS x
      FROM (SELECT ${key}, toUnixTimestamp64Micro(_event_time) AS us, toUnixTimestamp64Micro(_known_time) AS known, ifNull(delay, 0) AS v, isNotNull(delay) AS o, distance
            FROM events_${source} ORDER BY _event_time, _seq, _index) GROUP BY ${key}) AS h ON l.${key} = h.${key}`;
  const mean = (at: number) => `if(k${at} = 0, NULL, d${at} / k${at})`;
  return `SELECT id AS label, n0 AS n_1h, ${mean(0)} AS mean_1h, if(k0 = 0, NULL, mx) AS max_1h, n1 AS n_3h, ${mean(1)} AS mean_3h, n2 AS n_24h, ${mean(2)} AS mean_24h,
      if(k2 < 2, NULL, sqrt(greatest(0, dd - d2 * d2 / k2) / (k2 - 1))) AS sd_24h, ${mean(3)} AS mean_7d, if(n3 = 0, NULL, xx) AS distance_7d
    FROM (${layers.reduce((inner, layer) => `SELECT *, ${layer} FROM (${inner})`, grouped)})
    ARRAY JOIN ids AS id, ${windows.map((_, at) => `n${at} AS n${at}, d${at} AS d${at}, k${at} AS k${at}`).join(', ')}, dd AS dd, xx AS xx, mx AS mx`;
}

/** The three views side by side, as the training set has them. */
export function setByHand(tables: Readonly<Record<Key, string>>): string {
  const names = Object.keys(keys) as Key[];
  const values = names.flatMap((key) => columns.map((column) => `${key}_t.${column} AS ${key}__${column}`));
  const joins = names.map((key) => `LEFT JOIN ${tables[key]} AS ${key}_t ON l.label = ${key}_t.label`);
  return `SELECT ${['label', 'label_time', ...names].map((name) => `l.${name} AS ${name}`).join(', ')}, ${values.join(', ')} FROM ${labelTable} AS l ${joins.join(' ')} ORDER BY l.label_time`;
}
