import {
  asOfSql,
  compileView,
  elementOf,
  entityKey,
  type FeatureDefinition,
  type FeatureType,
  type FeatureValue,
  isRangeable,
  isVectorType,
  rangeSettings,
  rangeSql,
  type Scalar,
  tilesSql,
  viewFeatureTypes,
} from '@millrace/features';
import {
  agrees,
  columnsOf,
  computedView,
  everyFeature,
  inputView,
  type OracleEvent,
  oracleValues,
  viewOf,
  withComputed,
  worldEvents,
  worldFields,
  worldFilters,
  worldStartUs,
  worldWindowKinds,
} from '@millrace/features/testing';
import { createTestMesh, type TestMesh } from '@millrace/testkit';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';

const keys = ['a', 'b:c', 'é'];
const hourUs = 3600e6;
const columnTypes = {
  BOOL: 'Bool',
  INT64: 'Int64',
  DOUBLE: 'Float64',
  STRING: 'String',
  TIMESTAMP: "DateTime64(6, 'UTC')",
};
const table = 'default.events_world';

let mesh: TestMesh;
let url: string;
const events: (OracleEvent & { readonly key: string })[] = [];

/** Streams of random events, the same on every run, spread over entities and batches. */
beforeAll(async () => {
  mesh = await createTestMesh({ stores: ['clickhouse'] });
  url = mesh.clickhouse.url;
  const streams = fc.sample(worldEvents, { numRuns: 14, seed: 42 });
  for (const [at, event] of streams.flat().entries()) {
    const key = keys[at % 7 === 0 ? 2 : at % 2] ?? '';
    events.push({ ...event, fields: { ...event.fields, key }, key, seq: 1 + Math.floor(at / 4), index: at % 4 });
  }
  const fields = worldFields.map(({ name, type, nullable }) => {
    if (isVectorType(type)) return `\`${name}\` Array(Float32)`;
    return nullable ? `\`${name}\` Nullable(${columnTypes[type]})` : `\`${name}\` ${columnTypes[type]}`;
  });
  await sql(`CREATE TABLE ${table} (_event_id String, _event_time DateTime64(6, 'UTC'), _known_time DateTime64(6, 'UTC'),
    _seq UInt64, _index UInt32, ${fields.join(', ')}) ENGINE = MergeTree ORDER BY (_event_time, _seq, _index)`);
  const names = [
    '_event_id',
    '_event_time',
    '_known_time',
    '_seq',
    '_index',
    ...worldFields.map(({ name }) => `\`${name}\``),
  ];
  const rows = events.map((event) => {
    const values = worldFields.map(({ name, type }) => {
      const value = event.fields[name] ?? null;
      return isVectorType(type) ? `[${value ?? ''}]` : literal(value as Scalar, type);
    });
    return `('', ${time(event.timeUs)}, ${time(0)}, ${event.seq}, ${event.index}, ${values.join(', ')})`;
  });
  await sql(`INSERT INTO ${table} (${names.join(', ')}) VALUES ${rows.join(', ')}`);
});

afterAll(() => mesh?.close());

test('SQL over history gives every feature as brute force does, at random times and positions', async () => {
  expect(events.length).toBeGreaterThan(60);
  const view = viewOf(everyFeature(worldWindowKinds));
  const types = viewFeatureTypes(view);
  const times = fc.sample(fc.integer({ min: -hourUs, max: 6 * hourUs }), { numRuns: 30, seed: 7 });
  const samples = [...times, ...events.flatMap(({ timeUs }) => [timeUs - worldStartUs, timeUs + 1 - worldStartUs])].map(
    (offset, at) => ({
      id: at,
      key: keys[at % 3] ?? '',
      asOfUs: worldStartUs + offset,
      position: at % 3 === 0 ? Math.floor(events.length / 8) : 1e6,
    }),
  );
  const given = samples.map(
    ({ id, key, asOfUs, position }) =>
      `SELECT toUInt64(${id}) AS sample_id, '${key}' AS key, ${time(asOfUs)} AS as_of, toUInt64(${position}) AS position`,
  );
  let compared = 0;
  const wrong: unknown[] = [];
  for (let from = 0; from < view.features.length; from += 80) {
    const part = { ...view, features: view.features.slice(from, from + 80) };
    const rows = await select(asOfSql(part, table, given.join(' UNION ALL ')));
    expect(rows.length).toBe(samples.length);
    for (const row of rows) {
      const sample = samples[Number(row.sample_id)];
      if (!sample) throw new Error('every row is of a sample');
      const seen = events.filter(({ key, seq }) => key === sample.key && seq <= sample.position);
      const expected = oracleValues(part, seen, sample.asOfUs, worldFilters);
      for (const [at, feature] of part.features.entries()) {
        const type = types[from + at] ?? 'DOUBLE';
        const value = typed(row[feature.name], type);
        const want = expected[at];
        compared++;
        if (!want || !agrees(feature, type, value, want)) wrong.push({ feature, value, want, sample });
      }
    }
  }
  expect(wrong.slice(0, 3)).toEqual([]);
  expect(compared).toBe(samples.length * view.features.length);
  expect(compared).toBeGreaterThan(20_000);
});

test.each([true, false])(
  'ranges of ordered events give what brute force gives, where they answer (complete: %s)',
  async (complete) => {
    const whole = viewOf(everyFeature());
    const rangeable = whole.features.filter(({ name }) => isRangeable(whole, name));
    const features = rangeable.filter((_, at) => at % 2 === Number(complete));
    expect(features.length).toBeGreaterThan(75);
    const times = events.map(({ timeUs }, at) => timeUs + ([0, 1, 1800e6][at % 3] ?? 0));
    const most = Math.ceil(events.length / 4);
    const samples = times.map((asOfUs, at) => {
      const key = [...keys, 'nobody'][at % 4] ?? '';
      // mostly a position near the end, as that of a label whose latest events are not known yet
      return { key, asOfUs, position: complete ? 1e6 : at % 5 === 0 ? at % most : most - (at % 9) };
    });
    const given = samples.map(
      ({ key, asOfUs, position }, at) =>
        `SELECT toUInt64(${at}) AS sample_id, '${key}' AS key, ${time(asOfUs)} AS as_of, toUInt64(${position}) AS position`,
    );
    let compared = 0;
    let answered = 0;
    const wrong: unknown[] = [];
    for (let from = 0; from < features.length; from += 80) {
      const view = { ...whole, features: features.slice(from, from + 80) };
      const types = viewFeatureTypes(view);
      const ranges = rangeSql(view, table, given.join(' UNION ALL '), { complete, eventsPerEntityMax: 10_000 });
      const rows = await select(`${ranges} SETTINGS ${rangeSettings}`);
      answered += rows.length;
      for (const row of rows) {
        const sample = samples[Number(row.sample_id)];
        if (!sample) throw new Error('every row is of a sample');
        const seen = events.filter(({ key, seq }) => key === sample.key && seq <= sample.position);
        const expected = oracleValues(view, seen, sample.asOfUs, worldFilters);
        for (const [at, feature] of view.features.entries()) {
          const type = types[at] ?? 'DOUBLE';
          const value = typed(row[feature.name], type);
          const want = expected[at];
          compared++;
          if (!want || !agrees(feature, type, value, want)) wrong.push({ feature, value, want, sample });
        }
      }
    }
    expect(wrong.slice(0, 3)).toEqual([]);
    expect(answered).toBe(Math.ceil(features.length / 80) * samples.length);
    expect(compared).toBeGreaterThan(10_000);
  },
);

test('states that are filled with tiles from SQL and then with events are as states that saw every event', async () => {
  const features = everyFeature(worldWindowKinds).filter((_, at) => at % 3 === 0);
  expect(features.length).toBeGreaterThan(80);
  for (const withLifetime of [true, false]) {
    const view = viewOf(features.filter(({ window }) => withLifetime || window.t !== 'lifetime'));
    const compiled = compileView(view);
    const middle = Math.floor(events.length / 6);
    const frontierUs = Math.max(...events.filter(({ seq }) => seq <= middle).map(({ timeUs }) => timeUs));
    const query = tilesSql(view, table);
    const states = new Map(keys.map((key) => [entityKey('thing', [key]), compiled.newState()]));
    const records = await select(query, { position: middle, frontier: frontierUs });
    expect(records.length).toBeGreaterThan(5);
    for (const record of records) {
      const state = states.get(entityKey('thing', [String(record.key)]));
      if (!state) throw new Error('every tile is of a known entity');
      compiled.mergeTile(state, Number(record.hop_us), Number(record.bucket_us), record);
    }
    for (const event of events.filter(({ seq }) => seq > middle)) {
      const state = states.get(entityKey('thing', [event.key]));
      const bound = compiled.bind(columnsOf(worldFields, [event]));
      if (state) compiled.apply(state, bound, 0, event.timeUs, event.seq, event.index);
    }
    let compared = 0;
    for (const key of keys) {
      const state = states.get(entityKey('thing', [key]));
      if (!state) throw new Error('every entity has a state');
      expect(state.validFromUs).toBeGreaterThanOrEqual(frontierUs - 15 * 60e6);
      for (const t of [0, 1, 60e6, hourUs, 5 * hourUs, 50 * hourUs].map((later) => state.validFromUs + later)) {
        const expected = oracleValues(
          view,
          events.filter((event) => event.key === key),
          t,
          worldFilters,
        );
        const values = compiled.valuesAt(state, t);
        for (const [at, feature] of view.features.entries()) {
          const want = expected[at];
          compared++;
          const right = want !== undefined && agrees(feature, compiled.types[at] ?? 'DOUBLE', values[at] ?? null, want);
          expect(right, `${feature.name} of ${key}: ${String(values[at])}, not ${String(want?.value)}`).toBe(true);
        }
      }
    }
    expect(compared).toBeGreaterThan(1_000);
  }
});

test('aggregations over input expressions are in SQL and in tiles what brute force makes of the values', async () => {
  const types = viewFeatureTypes(inputView);
  const samples = events.map(({ timeUs }, at) => ({ key: keys[at % 3] ?? '', asOfUs: timeUs + (at % 5) * 60e6 + 1 }));
  const given = samples.map(
    ({ key, asOfUs }, id) =>
      `SELECT toUInt64(${id}) AS sample_id, '${key}' AS key, ${time(asOfUs)} AS as_of, toUInt64(1000000) AS position`,
  );
  const rows = await select(asOfSql(inputView, table, given.join(' UNION ALL ')));
  expect(rows.length).toBe(samples.length);
  const expectedOf = (key: string, asOfUs: number) =>
    oracleValues(computedView, events.filter((event) => event.key === key).map(withComputed), asOfUs, worldFilters);
  const wrong: unknown[] = [];
  for (const row of rows) {
    const { key = '', asOfUs = 0 } = samples[Number(row.sample_id)] ?? {};
    for (const [at, want] of expectedOf(key, asOfUs).entries()) {
      const feature = computedView.features[at] as FeatureDefinition;
      const value = typed(row[feature.name], types[at] ?? 'DOUBLE');
      if (!agrees(feature, types[at] ?? 'DOUBLE', value, want)) wrong.push({ feature, value, want });
    }
  }
  const rangeable = { ...inputView, features: inputView.features.filter(({ name }) => isRangeable(inputView, name)) };
  expect(rangeable.features.length).toBeGreaterThan(30);
  const ranges = rangeSql(rangeable, table, given.join(' UNION ALL '), { complete: true, eventsPerEntityMax: 10_000 });
  const inRanges = await select(`${ranges} SETTINGS ${rangeSettings}`);
  expect(inRanges.length).toBeGreaterThan(samples.length / 2);
  for (const row of inRanges) {
    const { key = '', asOfUs = 0 } = samples[Number(row.sample_id)] ?? {};
    for (const [at, want] of expectedOf(key, asOfUs).entries()) {
      const feature = computedView.features[at] as FeatureDefinition;
      const value = typed(row[feature.name], types[at] ?? 'DOUBLE');
      if (feature.name in row && !agrees(feature, types[at] ?? 'DOUBLE', value, want))
        wrong.push({ feature, value, want });
    }
  }
  expect(wrong.slice(0, 3)).toEqual([]);
  const compiled = compileView(inputView);
  const states = new Map(keys.map((key) => [key, compiled.newState()]));
  const frontierUs = Math.max(...events.map(({ timeUs }) => timeUs));
  for (const record of await select(tilesSql(inputView, table), { position: 1e6, frontier: frontierUs })) {
    const state = states.get(String(record.key));
    if (state) compiled.mergeTile(state, Number(record.hop_us), Number(record.bucket_us), record);
  }
  for (const [key, state] of states) {
    const values = compiled.valuesAt(state, state.validFromUs);
    for (const [at, want] of expectedOf(key, state.validFromUs).entries()) {
      const feature = computedView.features[at] as FeatureDefinition;
      expect(agrees(feature, types[at] ?? 'DOUBLE', values[at] ?? null, want), `${feature.name} of ${key}`).toBe(true);
    }
  }
});

test('filters mean the same in SQL and in the stream, down to nulls, zero divisors and overflow', async () => {
  const filters = [
    'd / i > 0.0',
    'i / 0 == 1',
    'i % -1 == 0',
    'i / -1 < 0',
    '(i - 9223372036854775807) / -1 > 0',
    'i * 4 > 0',
    'i + 1 > i',
    '!(i > 0)',
    '!(b)',
    'b || d > 0.0',
    'b && d > 0.0',
    '!(b && d > 0.0)',
    'i > d',
    'i == 9007199254740993',
    'd in [0.5, 1.0]',
    '!(s in ["a", "ab"])',
    'i in [1, 2, 3] || i in [1.0, null]',
    's > "ab"',
    's >= "\u{1F600}"',
    's.contains("")',
    's.endsWith("\u00e9")',
    's != null && s.startsWith("")',
    'at > 1125899906842624',
    '-i < -d',
    'd == -0.0',
    'i >= -9223372036854775808',
    'b == true',
    'b != null',
    's == "back\\\\slash"',
    's == "it\'s"',
    'i % 3 == -1',
    '(d + 1.0) * 2.0 >= 3.0',
    '(i / (i - 1)) == null',
    'd > 1e-300',
  ];
  const view = viewOf(
    filters.map((filter, at) => ({
      name: `n${at}`,
      function: 'count',
      field: '',
      window: { t: 'lifetime' },
      filter,
      ddof: 0,
    })),
  );
  const compiled = compileView(view);
  const late = worldStartUs + 1000 * hourUs;
  const given = keys.map(
    (key, id) =>
      `SELECT toUInt64(${id}) AS sample_id, '${key}' AS key, ${time(late)} AS as_of, toUInt64(9999) AS position`,
  );
  const rows = await select(asOfSql(view, table, given.join(' UNION ALL ')));
  for (const [id, key] of keys.entries()) {
    const own = events.filter((event) => event.key === key);
    const state = compiled.newState();
    const bound = compiled.bind(columnsOf(worldFields, own));
    for (const [row, event] of own.entries()) compiled.apply(state, bound, row, event.timeUs, event.seq, event.index);
    const row = rows.find(({ sample_id }) => Number(sample_id) === id) ?? {};
    const values = compiled.valuesAt(state, late);
    for (const [at, filter] of filters.entries()) expect(Number(row[`n${at}`]), `${filter} of ${key}`).toBe(values[at]);
  }
});

type Row = Readonly<Record<string, unknown>>;

async function sql(query: string, parameters: Readonly<Record<string, number>> = {}): Promise<string> {
  const search = new URLSearchParams(
    Object.entries(parameters).map(([name, value]): [string, string] => [`param_${name}`, String(value)]),
  );
  search.set('output_format_json_quote_64bit_integers', '1');
  // as libs/history asks it
  search.set('max_query_size', '16777216');
  search.set('max_ast_elements', '1000000');
  search.set('max_expanded_ast_elements', '2000000');
  const answer = await fetch(`${url}/?${search}`, { method: 'POST', body: query });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${text.slice(0, 600)}\n${query.slice(0, 2_000)}`);
  return text;
}

async function select(query: string, parameters: Readonly<Record<string, number>> = {}): Promise<Row[]> {
  const text = await sql(`${query} FORMAT JSONEachRow`, parameters);
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Row);
}

function time(us: number): string {
  return `fromUnixTimestamp64Micro(toInt64(${us}), 'UTC')`;
}

function literal(value: Scalar, type: keyof typeof columnTypes): string {
  if (value === null) return 'NULL';
  if (type === 'TIMESTAMP') return time(Number(value));
  if (typeof value === 'string') return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
  if (type === 'INT64') return `toInt64('${value}')`;
  return String(value);
}

function typed(value: unknown, type: FeatureType): FeatureValue {
  if (value === null || value === undefined) return null;
  const element = elementOf(type);
  if (element === undefined) return scalar(value, type as keyof typeof columnTypes);
  // a vector that is null is empty
  if (isVectorType(type) && (value as unknown[]).length === 0) return null;
  return (value as unknown[]).map((each) =>
    element === 'FLOAT32' ? Math.fround(Number(each)) : scalar(each, element),
  );
}

function scalar(value: unknown, type: keyof typeof columnTypes): NonNullable<Scalar> {
  if (type === 'INT64' || type === 'TIMESTAMP') return BigInt(String(value));
  return type === 'DOUBLE' ? Number(value) : (value as string | boolean);
}
