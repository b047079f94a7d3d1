import type { compute, ingestion } from '@millrace/contracts';
import { serving } from '@millrace/contracts';
import { type FeatureValue, type ViewDefinition, viewFeatureTypes } from '@millrace/features';
import { agrees, type OracleEvent, oracleValues } from '@millrace/features/testing';
import { resolveView } from '@millrace/registry';
import {
  allFeatures,
  bool,
  double,
  entity,
  type FeatureSpec,
  featureService,
  featureView,
  int64,
  lifetime,
  listValues,
  session,
  sliding,
  source,
  string,
  tumbling,
} from '@millrace/sdk';
import { eventually } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FullMesh, startFullMesh, stringKeys } from '../support/full-mesh.ts';

/**
 * Every aggregation over every kind of window in every situation of a stream: what is served through Redis, what SQL makes of history, and what
 * brute force makes of the events. Another run: MILLRACE_FUZZ_SEED=… vitest run test/parity/aggregations.test.ts.
 */
const seed = Number(process.env.MILLRACE_FUZZ_SEED ?? 31_007);
const again = `MILLRACE_FUZZ_SEED=${seed} gives it again`;
const random = mulberry(seed);

const [second, minute, hour] = [1e6, 60e6, 3600e6];
const nowUs = Date.now() * 1000;
const filter = 'd > 20.0 && s != "web"';
const filters = {
  [filter]: ({ d, s }: OracleEvent['fields']) => d !== null && Number(d) > 20 && s !== null && s !== 'web',
};

const visits = source('visits', {
  key: 'who',
  fields: {
    who: string(),
    d: double({ nullable: true }),
    i: int64({ nullable: true }),
    b: bool({ nullable: true }),
    s: string({ nullable: true }),
  },
});
const visitor = entity('visitor', { joinKeys: { who: 'STRING' } });

/** Windows of every kind; a lifetime and a session have neither rate nor change. */
const windows = {
  sliding: sliding('1h'),
  offset: sliding('30m', { hop: '10m', offset: '1h' }),
  tumbling: tumbling('20m'),
  lifetime: lifetime(),
  session: session('15m'),
} as const;

const view = featureView('visits_by_visitor', {
  entity: visitor,
  source: visits,
  features: (of) => {
    const made: Record<string, FeatureSpec> = {};
    for (const [name, window] of Object.entries(windows)) {
      const each: Record<string, FeatureSpec> = {
        count: of.count({ window, filter }),
        sum: of.sum('d', { window }),
        sum_int: of.sum('i', { window }),
        mean: of.mean('d', { window, filter }),
        min: of.min('i', { window }),
        max: of.max('d', { window }),
        variance: of.variance('d', { window, ddof: 0 }),
        stddev: of.stddev('i', { window }),
        first: of.first('s', { window }),
        last: of.last('b', { window }),
        distinct: of.distinct('s', { window }),
        percentile: of.percentile('d', { window, quantile: 0.9 }),
        entropy: of.entropy('s', { window }),
        age: of.age({ window, filter }),
        decayed_sum: of.decayedSum('d', { window, halfLife: '10m' }),
        decayed_count: of.decayedCount({ window, halfLife: '1h' }),
        decayed_mean: of.decayedMean('i', { window, halfLife: '90s' }),
        last_n: of.lastN('s', { window, n: 3 }),
        first_n: of.firstN('d', { window, n: 3 }),
        last_distinct_n: of.lastDistinctN('i', { window, n: 3 }),
        first_distinct_n: of.firstDistinctN('b', { window, n: 2 }),
        top_k: of.topK('s', { window, n: 2 }),
        histogram: of.histogram('d', { window, edges: [10, 50] }),
        trend: of.trend('d', { window }),
        zscore: of.zscore('d', { window }),
        ratio: of.ratio(of.sum('d', { window, filter }), of.count({ window })),
      };
      if (name !== 'lifetime' && name !== 'session') {
        each.rate = of.rate({ window, field: 'd' });
        each.change = of.change(of.mean('d', { window }), { offset: '20m' });
      }
      for (const [fn, spec] of Object.entries(each)) made[`${fn}_${name}`] = spec;
    }
    return made;
  },
});
const service = featureService('visits', { features: [allFeatures(view)] });

type Given = Omit<OracleEvent, 'seq' | 'index'> & { readonly id: string };
type Situation = { readonly name: string; readonly rounds: readonly (readonly Given[])[] };

let made = 0;
function event(minutesAgo: number, fields: OracleEvent['fields'] = randomFields()): Given {
  made++;
  return { id: `v-${made}`, timeUs: nowUs - Math.round(minutesAgo * minute), fields };
}

function randomFields(): OracleEvent['fields'] {
  const optional = <T>(value: T) => (random() < 0.15 ? null : value);
  return {
    d: optional(Math.round(random() * 1e4) / 100),
    i: optional(Math.floor(random() * 9) - 2),
    b: optional(random() < 0.7),
    s: optional(['web', 'app', 'phone'][Math.floor(random() * 3)] ?? ''),
  };
}

const nothing = { d: null, i: null, b: null, s: null };
const spread = (count: number, fromMinutes: number, toMinutes: number) =>
  Array.from({ length: count }, () => fromMinutes + random() * (toMinutes - fromMinutes));
const descending = (times: readonly number[]) => times.toSorted((x, y) => y - x);

/** Each an entity of its own; the rounds are published one after the other, with reads between them. */
function situations(): Situation[] {
  const inOrder = descending(spread(24, 5, 200)).map((ago) => event(ago));
  const twice = descending(spread(12, 5, 150)).map((ago) => event(ago));
  return [
    {
      name: 'late',
      rounds: [
        descending(spread(12, 5, 60)).map((ago) => event(ago)),
        descending(spread(8, 20, 400)).map((ago) => event(ago)),
        descending(spread(8, 6, 90)).map((ago) => event(ago)),
      ],
    },
    { name: 'duplicate', rounds: [twice, [...twice.slice(3, 9), event(4)], twice] },
    {
      name: 'unordered',
      rounds: [spread(15, 5, 200).map((ago) => event(ago)), spread(9, 5, 90).map((ago) => event(ago)), []],
    },
    { name: 'future', rounds: [[event(30), event(2), event(-2), event(-3)], [event(-1), event(3)], []] },
    { name: 'empty', rounds: [[event(3000)], [], []] },
    { name: 'single', rounds: [[event(7)], [], []] },
    {
      name: 'null',
      rounds: [[event(40, nothing), event(9, nothing)], [event(8, { ...nothing, d: 30 })], [event(6, nothing)]],
    },
    { name: 'plain', rounds: [inOrder.slice(0, 12), inOrder.slice(12), []] },
  ];
}

let mesh: FullMesh;
beforeAll(async () => {
  mesh = await startFullMesh();
  await mesh.apply(visits, visitor, view, service);
  await mesh.viewsReady(1);
}, 240_000);
afterAll(() => mesh?.close());

test(`every aggregation over every window agrees between stream, SQL and brute force: late, duplicate, unordered, future, empty, single, null (seed ${seed})`, async () => {
  const all = situations();
  const definition = resolved();
  const types = viewFeatureTypes(definition);
  const published = new Map<string, OracleEvent[]>(all.map(({ name }) => [name, []]));
  const wrong: unknown[] = [];
  const samples: compute.Sample[] = [];
  const seen = new Map<string, number>();
  let compared = 0;
  let features: readonly string[] = [];
  for (let round = 0; round < 3; round++) {
    await publishRound(all, round, published);
    const reads = all.flatMap(({ name }) => readTimes().map((asOfUs) => ({ name, asOfUs })));
    const response = await mesh.clients.features.getFeatures({
      featureService: 'visits',
      version: '',
      keys: [
        stringKeys(
          'who',
          reads.map(({ name }) => name),
        ),
      ],
      asOfUs: 0n,
      asOfUsByRow: reads.map(({ asOfUs }) => BigInt(asOfUs)),
      allowPartial: false,
      allowHistory: false,
      requestData: [],
      omitMetadata: false,
    });
    features = response.features.map(({ name }) => name.slice('visits_by_visitor__'.length));
    for (const [row, { name, asOfUs }] of reads.entries()) {
      const served = servedRow(response, row);
      if (served === undefined) continue;
      const expected = oracleValues(definition, published.get(name) ?? [], asOfUs, filters);
      for (const [at, feature] of definition.features.entries()) {
        const want = expected[at];
        const value = served[at] ?? null;
        compared++;
        seen.set(`${feature.name} ${name}`, 1 + (seen.get(`${feature.name} ${name}`) ?? 0));
        if (!want || !agrees(feature, types[at] ?? 'DOUBLE', value, want))
          wrong.push({
            feature: feature.name,
            name,
            round,
            minutes: (asOfUs - nowUs) / minute,
            value,
            want: want?.value,
          });
      }
      samples.push({
        keys: new Map([['who', name]]),
        asOfUs: BigInt(asOfUs),
        position: response.views[0]?.positions[row] ?? 0n,
        served: served.map(toSample),
      });
    }
  }
  expect(wrong.slice(0, 5), `${wrong.length} of ${compared} differ from brute force; ${again}`).toEqual([]);
  expect(seen.size, 'features × situations').toBe(definition.features.length * all.length);
  expect(compared).toBeGreaterThan(15_000);

  const outcome = await mesh.clients.compute.verifySamples(
    { view: 'visits_by_visitor', version: '', features: [...features], samples },
    { timeoutMs: 120_000 },
  );
  const differing = outcome.mismatches.map(({ feature, sample, served, expected }) => ({
    feature,
    of: samples[sample]?.keys.get('who'),
    served: served?.kind?.value,
    expected: expected?.kind?.value,
  }));
  expect(differing.slice(0, 5), `${outcome.mismatched} differ from SQL; ${again}`).toEqual([]);
  expect(Number(outcome.compared)).toBe(compared);
}, 300_000);

/** From now on, across hops, sessions and what was sent ahead of its time. */
function readTimes(): number[] {
  const around = [1, 61, 125, 200, 600, 1_500].map((seconds) => nowUs + seconds * second);
  return [...around, ...spread(6, 5, 300).map((minutes) => nowUs + Math.round(minutes * minute)), nowUs + 50 * hour];
}

async function publishRound(all: readonly Situation[], round: number, published: Map<string, OracleEvent[]>) {
  const given = all.flatMap(({ name, rounds }) => (rounds[round] ?? []).map((each) => ({ name, each })));
  const ids = new Set([...published.values()].flat().map((known) => (known as OracleEvent & Given).id));
  const events = given.map(
    ({ name, each }): ingestion.Event => ({
      id: each.id,
      eventTimeUs: BigInt(each.timeUs),
      json: Buffer.from(JSON.stringify({ who: name, ...each.fields })),
    }),
  );
  const { rejections, accepted, position } = await mesh.clients.ingestion.publish({ source: 'visits', events });
  expect(rejections).toEqual([]);
  const fresh = given.filter(({ each }) => !ids.has(each.id));
  expect(accepted).toBe(fresh.length);
  for (const [index, { name, each }] of fresh.entries())
    published.get(name)?.push({ ...each, seq: round, index } as OracleEvent);
  await eventually(async () => (await mesh.clients.compute.getStatus({})).rowPosition >= position, {
    timeoutMs: 30_000,
  });
}

/** The view as the services see it. */
function resolved(): ViewDefinition {
  const [viewSpec, entitySpec, sourceSpec] = [view, visitor, visits].map(({ definition }) => definition.spec);
  if (viewSpec?.$case !== 'featureView' || entitySpec?.$case !== 'entity' || sourceSpec?.$case !== 'source')
    throw new Error('three definitions were made');
  return resolveView('visits_by_visitor', viewSpec.value, entitySpec.value, sourceSpec.value);
}

/** Undefined for a row that says nothing of that time. */
function servedRow(response: serving.GetFeaturesResponse, row: number): FeatureValue[] | undefined {
  const { features, statuses } = response;
  const of = (block: number) => features.filter((feature) => feature.block === block).length;
  const widths = [0, of(1), of(2)];
  const values = features.map((feature, index): FeatureValue | undefined => {
    const status = statuses[row * features.length + index];
    if (status === serving.ValueStatus.NULL) return null;
    if (status !== serving.ValueStatus.PRESENT) return undefined;
    const at = row * (widths[feature.block] ?? 0) + feature.column;
    if (feature.block === 1) return response.doubles[at] ?? null;
    if (feature.block === 3) return response.strings[feature.column]?.values[row] ?? null;
    if (feature.block === 4) return listValues(response.lists[feature.column], feature.type, row).map(narrow);
    return feature.type === 'BOOL' ? response.int64s[at] === 1n : narrow(response.int64s[at] ?? 0n);
  });
  return values.includes(undefined) ? undefined : (values as FeatureValue[]);
}

function narrow<T>(value: T): T | number {
  return typeof value === 'bigint' ? Number(value) : value;
}

function toSample(value: FeatureValue, at = 0): compute.SampleValue {
  if (value === null) return { kind: undefined };
  if (typeof value === 'object')
    return { kind: { $case: 'listValue', value: { values: value.map((each) => toSample(each, at)) } } };
  if (typeof value === 'string') return { kind: { $case: 'stringValue', value } };
  if (typeof value === 'boolean') return { kind: { $case: 'boolValue', value } };
  if (typeof value === 'bigint' || Number.isInteger(value))
    return { kind: { $case: 'int64Value', value: BigInt(value) } };
  return { kind: { $case: 'doubleValue', value } };
}

function mulberry(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}
