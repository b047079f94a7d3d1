import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compute, definitions, type trainingSets } from '@millrace/contracts';
import type { ViewDefinition, WindowSpec } from '@millrace/features';
import { ensureEventTable, type History, insertBatches, openHistory } from '@millrace/history';
import { createSystemClock } from '@millrace/kernel';
import { createTestMesh, type TestMesh } from '@millrace/testkit';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTrainingSetBook } from '../../services/feature-compute/src/adapters/clickhouse-training-sets.ts';
import { createUploadLabels } from '../../services/feature-compute/src/app/training/label-store.ts';
import { createBuildTrainingSet } from '../../services/feature-compute/src/app/training/training-set.ts';

const fields = [{ name: 'code', type: 'STRING', nullable: false }] as const;
const originUs = 1e15;
const view: ViewDefinition = {
  name: 'v',
  version: '1',
  entity: 'e',
  source: 'arrivals',
  fields,
  joinKeys: [{ name: 'code', type: 'STRING', field: 'code' }],
  features: [
    { name: 'n', function: 'count', field: '', window: { t: 'lifetime' }, filter: '', ddof: 1 },
    { name: 'codes', function: 'last_n', field: 'code', n: 2, window: { t: 'lifetime' }, filter: '', ddof: 1 },
  ],
};
let mesh: TestMesh;
let history: History;

beforeAll(async () => {
  mesh = await createTestMesh({ stores: ['clickhouse'] });
  history = await openHistory({ url: mesh.clickhouse.url });
  await ensureEventTable(history, { name: 'arrivals', fields });
  const batch = (atUs: number, knownTimeUs: number) => ({
    knownTimeUs,
    count: 1,
    ids: [randomUUID()],
    eventTimeUs: Float64Array.of(atUs),
    columns: new Map([['code', { type: 'str' as const, values: ["it's"], nulls: null }]]),
  });
  await insertBatches(history, { name: 'arrivals', fields }, [
    { seq: 1, batch: batch(originUs, originUs) },
    { seq: 2, batch: batch(originUs + 10, originUs + 50) },
  ]);
});

afterAll(async () => {
  await history?.close();
  await mesh?.close();
});

/** How the service takes each feature. */
type Policy = { readonly maxAgeUs?: bigint; readonly staleAction?: definitions.StaleAction };

function builder(window: WindowSpec = { t: 'lifetime' }, policy: Policy = {}) {
  return createBuildTrainingSet({
    check: async () => [],
    history,
    book: createTrainingSetBook(history),
    clock: createSystemClock(),
    view: async () => ({ ...view, features: view.features.map((feature) => ({ ...feature, window })) }),
    service: async () => ({
      version: 's1',
      spec: definitions.FeatureService.fromPartial({
        features: ['n', 'codes'].map((feature) => ({ view: 'v', feature, ...policy })),
      }),
    }),
  });
}

type Request = Parameters<typeof compute.BuildTrainingSetRequest.fromPartial>[0];

/** The rows of the file and the record. */
async function run(given: Request, window?: WindowSpec, policy?: Policy) {
  const request = compute.BuildTrainingSetRequest.fromPartial({ featureService: 's', ...given });
  const pieces: Buffer[] = [];
  let record = compute.TrainingSetRecord.fromPartial({});
  for await (const part of builder(window, policy)(request, new AbortController().signal)) {
    if (part.t === 'bytes') pieces.push(part.bytes);
    if (part.t === 'record') record = part.record;
  }
  const file = join(mesh.dir, randomUUID());
  writeFileSync(file, Buffer.concat(pieces));
  const format = ['Parquet', 'ArrowStream', 'Arrow'][request.format] ?? '';
  const rows = await history.query<Record<string, unknown>>(`SELECT * FROM file('${file}', ${format})`);
  return { rows, record };
}

async function build(
  complete: boolean,
  { allowedDelayUs = 0, labelsAt = [20, 5, 60], window = { t: 'lifetime' } as WindowSpec, policy = {} as Policy } = {},
) {
  const label = (offsetUs: number) =>
    `SELECT 'it\\'s' AS code, fromUnixTimestamp64Micro(toInt64(${originUs + offsetUs}), 'UTC') AS label_time, ${offsetUs} AS label`;
  const labelQuery = labelsAt.map(label).join(' UNION ALL ');
  const { rows, record } = await run({ labelQuery, allowedDelayUs: BigInt(allowedDelayUs), complete }, window, policy);
  return {
    digest: record.digest,
    rows: rows.map((row) => [Number(row.label), Number(row.v__n)]),
    lists: rows.map((row) => row.v__codes),
  };
}

test('labels come in time order with the events before them', async () => {
  const { rows, lists } = await build(true);
  expect(rows).toEqual([
    [5, 1],
    [20, 2],
    [60, 2],
  ]);
  expect(lists).toEqual([["it's"], ["it's", "it's"], ["it's", "it's"]]);
});

test('an event counts only if it was known by label time plus the allowed delay', async () => {
  expect((await build(false)).rows).toEqual([
    [5, 1],
    [20, 1],
    [60, 2],
  ]);
  expect((await build(false, { allowedDelayUs: 30 })).rows).toEqual([
    [5, 1],
    [20, 2],
    [60, 2],
  ]);
});

test('a list that its policy takes away for its age is empty, as a number is null', async () => {
  const policy = { maxAgeUs: 15n, staleAction: definitions.StaleAction.NULL };
  const { lists, rows } = await build(true, { labelsAt: [5, 12, 60], policy });
  expect(lists).toEqual([["it's"], ["it's", "it's"], []]);
  expect(rows.map(([, n]) => n)).toEqual([1, 2, 0]);
});

test('a window some time ago finds its events however far they lie before the labels', async () => {
  const [secondUs, hourUs] = [1e6, 3600e6];
  const window = { t: 'tumbling', sizeUs: secondUs, offsetUs: 60 * secondUs } as const;
  const labelsAt = [secondUs, 61 * secondUs, 62 * secondUs, hourUs];
  expect((await build(true, { labelsAt, window })).rows).toEqual([
    [secondUs, 0],
    [61 * secondUs, 2],
    [62 * secondUs, 0],
    [hourUs, 0],
  ]);
});

test('the digest is the same for the same rows, another for others, and no table is left behind', async () => {
  const [once, again, other] = [await build(true), await build(true), await build(false)];
  expect(again.digest).toBe(once.digest);
  expect(other.digest).not.toBe(once.digest);
  const tables = await history.query<{ name: string }>('SHOW TABLES');
  expect(tables.filter(({ name }) => name !== 'training_sets')).toEqual([{ name: 'events_arrivals' }]);
});

const manyLabels = `SELECT if(number % 3 = 0, 'it\\'s', toString(number % 7)) AS code, number % 4 AS class, number AS row,
  fromUnixTimestamp64Micro(toInt64(${originUs} + number), 'UTC') AS label_time FROM numbers(67)`;
const overlooked = { allowLeakage: true, leakageReason: 'only the rows are looked at here' };

interface Fixture {
  readonly shapes: readonly { readonly classes: readonly string[]; readonly groups: readonly (string | number)[] }[];
  readonly cases: readonly {
    readonly splitter: string;
    readonly shape: number;
    readonly options: Readonly<Record<string, number | boolean>>;
    readonly splits: readonly { readonly test: readonly number[]; readonly train?: readonly number[] }[];
  }[];
}

const fixture = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../libs/stats/src/selection/fixtures/splits.json'), 'utf8'),
) as Fixture;

test('splits are the rows that scikit-learn splits, in the order of the labels', async () => {
  const { shapes, cases } = fixture;
  const shape = shapes[1];
  if (!shape) throw new Error('the fixture has shapes');
  const table = shape.classes.map((_, row) => row);
  const labelQuery = `SELECT 'a' AS code, row, fromUnixTimestamp64Micro(toInt64(${originUs} + row), 'UTC') AS label_time,
    [${shape.classes.map((value) => `'${value}'`)}][row + 1] AS class, [${shape.groups.join(',')}][row + 1] AS grp
    FROM (SELECT arrayJoin([${table}]) AS row)`;
  const kinds: Readonly<Record<string, number>> = {
    trainTestSplit: 1,
    kFold: 2,
    stratifiedKFold: 3,
    groupKFold: 4,
    stratifiedGroupKFold: 5,
    timeSeriesSplit: 6,
    shuffleSplit: 7,
    stratifiedShuffleSplit: 8,
    groupShuffleSplit: 9,
  };
  for (const [splitter, kind] of Object.entries(kinds)) {
    const found = cases.findLast((each) => each.shape === 1 && each.splitter === splitter);
    if (!found) throw new Error(`no case of ${splitter}`);
    const { seed = 0, stratify, ...options } = found.options;
    const isStratified = splitter.startsWith('stratified') || stratify === true;
    const { rows } = await run({
      labelQuery,
      ...overlooked,
      seed: Number(seed),
      split: {
        ...options,
        kind: kind as trainingSets.SplitKind,
        ...(isStratified ? { stratifyBy: 'class' } : {}),
        ...(/group/i.test(splitter) ? { groupBy: 'grp' } : {}),
      },
    });
    expect(rows.map(({ row }) => Number(row))).toEqual(table);
    for (const [at, { test: held, train }] of found.splits.entries()) {
      const side = (row: Record<string, unknown>) =>
        /KFold/i.test(splitter)
          ? Number(row.split) === at
            ? 'test'
            : 'train'
          : row[splitter === 'trainTestSplit' ? 'split' : `split_${at}`];
      const of = (wanted: string) => rows.flatMap((row, index) => (side(row) === wanted ? [index] : []));
      expect(of('test'), splitter).toEqual([...held].sort((x, y) => x - y));
      if (train) expect(of('train'), splitter).toEqual([...train].sort((x, y) => x - y));
    }
  }
});

test('samples take rows as asked and keep their order', async () => {
  const sampled = async (sampling: Partial<trainingSets.TrainingSetSampling>, seed = 5) =>
    (await run({ labelQuery: manyLabels, seed, sampling })).rows.map(({ row, class: of }) => [Number(row), Number(of)]);
  // a random sample is where scikit-learn's ShuffleSplit tests first: the start of RandomState(seed).permutation(rows)
  const reference = fixture.cases.find(({ splitter, shape }) => splitter === 'shuffleSplit' && shape === 0);
  const [split] = reference?.splits ?? [];
  if (!reference || !split) throw new Error('the fixture has a ShuffleSplit');
  const { rows } = await run({
    labelQuery: manyLabels.replace('numbers(67)', `numbers(${fixture.shapes[0]?.classes.length})`),
    seed: Number(reference.options.seed),
    sampling: { kind: 1, rows: BigInt(split.test.length) },
  });
  expect(rows.map(({ row }) => Number(row))).toEqual([...split.test].sort((x, y) => x - y));
  expect(await sampled({ kind: 1, rows: 10n }, 6)).not.toEqual(await sampled({ kind: 1, rows: 10n }, 7));
  const perClass = (rows: number[][]) => [0, 1, 2, 3].map((of) => rows.filter(([, each]) => each === of).length);
  expect(perClass(await sampled({ kind: 2, share: 0.5, column: 'class' }))).toEqual([9, 9, 8, 8]);
  expect(perClass(await sampled({ kind: 3, column: 'class' }))).toEqual([16, 16, 16, 16]);
  const span = await sampled({ kind: 4, fromUs: BigInt(originUs + 10), untilUs: BigInt(originUs + 13) });
  expect(span.map(([row]) => row)).toEqual([10, 11, 12]);
  await expect(sampled({ kind: 1, rows: 68n })).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
});

async function upload(name: string, text: string, more: Partial<trainingSets.UploadLabelsRequest> = {}) {
  async function* messages() {
    for (const data of [text.slice(0, 9), text.slice(9)])
      yield { name, format: '', timeColumn: '', ...more, data: Buffer.from(data) };
  }
  return createUploadLabels({ history, dir: join(mesh.dir, 'uploads') })(messages());
}

const iso = (offsetUs: number) => `2001-09-09T01:46:40.${String(offsetUs).padStart(6, '0')}Z`;

test('labels of a file have the types that every row fits, and the same file the same id', async () => {
  const csv = `code,when,y,weight\nit's,${iso(20)},1,0.5\nit's,${iso(5)},0,2\nnobody,${iso(60)},1,\n`;
  const uploaded = await upload('labels.csv', csv, { timeColumn: 'when' });
  expect(uploaded.rows).toBe(3n);
  expect(uploaded.columns).toEqual([
    { name: 'code', type: 'STRING', nullRows: 0n },
    { name: 'label_time', type: 'TIMESTAMP', nullRows: 0n },
    { name: 'y', type: 'INT64', nullRows: 0n },
    { name: 'weight', type: 'DOUBLE', nullRows: 1n },
  ]);
  expect((await upload('labels.csv', csv, { timeColumn: 'when' })).labelsId).toBe(uploaded.labelsId);
  const { rows, record } = await run({ labelsId: uploaded.labelsId, complete: true, withStatuses: true, format: 2 });
  expect(
    rows.map((row) => [
      row.code,
      Number(row.y),
      row.weight,
      row.v__n === null ? null : Number(row.v__n),
      row.v__n__status,
    ]),
  ).toEqual([
    ["it's", 0, 2, 1, 'PRESENT'],
    ["it's", 1, 0.5, 2, 'PRESENT'],
    ['nobody', 1, null, null, 'NOT_FOUND'],
  ]);
  expect(record.counts[0]).toEqual({ column: 'v__n', present: 2n, nullRows: 1n, notFound: 1n });
});

test.each<[string, string, string, RegExp]>([
  ['no time', 'code,y\na,1\n', 'INVALID_ARGUMENT', /no column "label_time"/],
  ['a time that is none', 'code,label_time\na,soon\n', 'WRONG_TYPE', /not a time, as soon/],
  [
    'broken rows',
    `code,label_time\na,${iso(1)}\nb\n`,
    'MALFORMED_PAYLOAD',
    /1 rows of "labels.csv" cannot be read.*row 2/,
  ],
])('a file with %s is refused', async (_what, csv, reason, message) => {
  await expect(upload('labels.csv', csv)).rejects.toMatchObject({ reason, message: expect.stringMatching(message) });
});

test.each<[string, string, string, RegExp]>([
  [
    'a time is null',
    "SELECT 'a' AS code, NULL::Nullable(DateTime64(6)) AS label_time",
    'NULL_NOT_ALLOWED',
    /1 of 1 labels/,
  ],
  [
    'a key is null',
    'SELECT NULL::Nullable(String) AS code, now64(6) - 1 AS label_time',
    'NULL_JOIN_KEY',
    /1 of 1 labels/,
  ],
  ['a key is of another type', 'SELECT 1.5 AS code, now64(6) AS label_time', 'WRONG_TYPE', /labels give Float64/],
  ['the time is a number', "SELECT 'a' AS code, 5 AS label_time", 'WRONG_TYPE', /fromUnixTimestamp64Micro/],
  ['a key is not there', 'SELECT now64(6) AS label_time', 'INVALID_ARGUMENT', /no column "code"/],
  [
    'a column is there twice',
    "SELECT 'a' AS code, now64(6) AS label_time, t.*, t.* FROM (SELECT 1 AS y) AS t",
    'INVALID_ARGUMENT',
    /two columns "y"/,
  ],
  ['there are none', "SELECT 'a' AS code, now64(6) AS label_time WHERE 0", 'INVALID_ARGUMENT', /there are no labels/],
])('labels are refused where %s', async (_what, labelQuery, reason, message) => {
  await expect(run({ labelQuery })).rejects.toMatchObject({ reason, message: expect.stringMatching(message) });
});

test('a set is built again from its record, with the events that there were, and is listed', async () => {
  const sampling = { kind: 1, share: 0.5 } as const;
  const first = await run({
    labelQuery: manyLabels,
    complete: true,
    seed: 3,
    sampling,
    split: { kind: 1, shuffle: false },
  });
  const late = {
    knownTimeUs: originUs + 99,
    count: 1,
    ids: [randomUUID()],
    eventTimeUs: Float64Array.of(originUs + 1),
  };
  const columns = new Map([['code', { type: 'str' as const, values: ['1'], nulls: null }]]);
  await insertBatches(history, { name: 'arrivals', fields }, [{ seq: 3, batch: { ...late, columns } }]);
  const again = await run({ likeId: first.record.id });
  expect(again.record.digest).toBe(first.record.digest);
  expect(again.record).toMatchObject({ likeId: first.record.id, seed: 3, rows: first.record.rows });
  const book = createTrainingSetBook(history);
  expect((await book.list('s', 2)).map(({ id }) => id)).toEqual([again.record.id, first.record.id]);
  expect(await book.get(first.record.id)).toEqual(first.record);
  const anew = await run({
    labelQuery: manyLabels,
    complete: true,
    seed: 3,
    sampling,
    split: { kind: 1, shuffle: false },
  });
  expect(anew.record.digest).not.toBe(first.record.digest);
  await expect(run({ likeId: 'nothing' })).rejects.toMatchObject({ reason: 'UNKNOWN_DEFINITION' });
});

test.each<[string, Request, RegExp]>([
  ['time', { split: { kind: 1 } }, /test rows lie before training rows of the same code/],
  ['group', { split: { kind: 1, shuffle: false, groupBy: 'class' } }, /4 values of "class" with 67 rows/],
  [
    'duplicate',
    {
      labelQuery: `SELECT * EXCEPT row FROM (${manyLabels}) UNION ALL SELECT * EXCEPT row FROM (${manyLabels})`,
      split: { kind: 2, shuffle: true },
    },
    /rows have an equal one on the other side/,
  ],
  [
    'target',
    {
      labelQuery: `SELECT *, toUInt8(code = 'it\\'s' AND row > 10) AS y FROM (${manyLabels})`,
      complete: true,
      target: 'y',
    },
    /feature "v__n" gives the target "y" away/,
  ],
  ['time', { labelQuery: "SELECT 'a' AS code, now64(6) + INTERVAL 1 DAY AS label_time" }, /1 labels lie in the future/],
])('leakage by %s blocks a set unless a reason is given', async (kind, more, message) => {
  const request = { labelQuery: manyLabels, ...more };
  await expect(run(request)).rejects.toMatchObject({
    reason: 'LEAKAGE_FOUND',
    message: expect.stringMatching(message),
  });
  await expect(run({ ...request, allowLeakage: true })).rejects.toMatchObject({ reason: 'INVALID_ARGUMENT' });
  const { record } = await run({ ...request, allowLeakage: true, leakageReason: 'known' });
  expect(record.leakageReason).toBe('known');
  expect(record.findings.map((finding) => finding.kind)).toContain(kind);
});

test('a set that does not leak passes', async () => {
  const { record } = await run({
    labelQuery: manyLabels,
    complete: true,
    split: { kind: 6, splits: 3 },
    target: 'class',
  });
  expect(record.findings).toEqual([]);
});
