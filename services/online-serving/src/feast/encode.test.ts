import { definitions, feastServing, type feastTypes, serving } from '@millrace/contracts';
import type { FieldType, ViewDefinition } from '@millrace/features';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compilePlan } from '../domain/compile-plan.ts';
import { createMatrix, type Matrix } from '../domain/matrix.ts';
import type { PlannedFeature } from '../domain/plan.ts';
import type { RequestKey } from '../domain/request.ts';
import { encodeJson } from './encode-json.ts';
import { encodeProto } from './encode-proto.ts';
import { jsonMetadata, protoMetadata } from './metadata.ts';

const types: readonly FieldType[] = ['INT64', 'DOUBLE', 'STRING', 'BOOL', 'TIMESTAMP'];

const viewOf = (name: string): ViewDefinition => ({
  name,
  version: `${name}-1`,
  entity: 'driver',
  joinKeys: [{ name: 'id', type: 'INT64', field: 'id' }],
  source: 'events',
  fields: [
    { name: 'id', type: 'INT64', nullable: false },
    ...types.map((type) => ({ name: type, type, nullable: true })),
  ],
  features: types.map((type) => ({
    name: type.toLowerCase(),
    function: 'last' as const,
    field: type,
    window: { t: 'lifetime' as const },
    filter: '',
    ddof: 1,
  })),
});

const plan = compilePlan(
  {
    name: 's',
    version: '1',
    spec: definitions.FeatureService.fromPartial({
      features: ['a', 'b'].flatMap((view) =>
        types.map((type, i) => ({
          view,
          feature: type.toLowerCase(),
          staleAction: i % 2 === 0 ? definitions.StaleAction.SERVE : definitions.StaleAction.NULL,
        })),
      ),
    }),
  },
  (view) => viewOf(view),
);

type Cell = { readonly status: number; readonly int: bigint; readonly double: number; readonly text: string };
const int64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.integer().map(BigInt),
  fc.integer({ min: -200, max: 200 }).map(BigInt),
  fc.constantFrom(0n, 127n, 128n, 2n ** 31n - 1n, 2n ** 31n, -(2n ** 31n), 2n ** 32n, 2n ** 53n + 1n, -(2n ** 63n)),
);
const cell: fc.Arbitrary<Cell> = fc.record({
  status: fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, fc.integer({ min: 0, max: 7 })),
  int: int64,
  double: fc.oneof(fc.double(), fc.integer()),
  text: fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.string({ minLength: 120, maxLength: 200 })),
});
const timeUs = fc.oneof(
  fc.constant(0),
  fc.integer({ min: 0, max: 4_102_444_800 }).map((s) => s * 1e6),
  fc.integer({ min: 0, max: 4_102_444_800_000 }).map((ms) => ms * 1e3),
  fc.integer({ min: 0, max: 4_102_444_800_000_000 }),
);
const answerInput = fc.integer({ min: 1, max: 12 }).chain((rows) =>
  fc.record({
    cells: fc.array(fc.array(cell, { minLength: rows, maxLength: rows }), { minLength: 10, maxLength: 10 }),
    times: fc.array(fc.array(timeUs, { minLength: rows, maxLength: rows }), { minLength: 2, maxLength: 2 }),
    keys: fc.array(int64, { minLength: rows, maxLength: rows }),
    names: fc.array(fc.string({ unit: 'binary', maxLength: 140 }), { minLength: rows, maxLength: rows }),
  }),
);

function fill(cells: readonly (readonly Cell[])[], times: readonly (readonly number[])[]): Matrix {
  const rows = cells[0]?.length ?? 0;
  const matrix = createMatrix(plan, new Float64Array(rows).fill(1), { sameAsOf: true, metadata: true });
  for (const [position, column] of cells.entries()) {
    const feature = plan.features[position] as PlannedFeature;
    for (const [row, { status, int, double, text }] of column.entries()) {
      matrix.bytes[matrix.statusesAt + row * plan.features.length + position] = status;
      if (feature.type === 'DOUBLE')
        matrix.data.setFloat64(matrix.doublesAt + (row * plan.doubles + feature.column) * 8, double, true);
      else if (feature.type === 'STRING') (matrix.strings[feature.column] as string[])[row] = text;
      else
        matrix.data.setBigInt64(
          matrix.int64sAt + (row * plan.int64s + feature.column) * 8,
          feature.type === 'BOOL' ? int & 1n : int,
          true,
        );
    }
  }
  for (const [view, column] of times.entries())
    for (const [row, time] of column.entries())
      matrix.data.setBigInt64((matrix.eventTimesAt[view] as number) + row * 8, BigInt(time), true);
  return matrix;
}

const fieldStatusOf: Readonly<Record<number, keyof typeof feastServing.FieldStatus>> = {
  [serving.ValueStatus.PRESENT]: 'PRESENT',
  [serving.ValueStatus.NULL]: 'NULL_VALUE',
  [serving.ValueStatus.NOT_FOUND]: 'NOT_FOUND',
  [serving.ValueStatus.STALE]: 'OUTSIDE_MAX_AGE',
  [serving.ValueStatus.DEFAULTED]: 'PRESENT',
};
const statusOf = (status: number) => fieldStatusOf[status] ?? 'INVALID';
const hasValue = (feature: PlannedFeature, status: number) =>
  [1, 5].includes(status) || (status === 4 && feature.staleAction === 'serve');

function floorSeconds(us: bigint): bigint {
  return (us - (((us % 1_000_000n) + 1_000_000n) % 1_000_000n)) / 1_000_000n;
}

function protoValue(feature: PlannedFeature, { status, int, double, text }: Cell): feastTypes.Value['val'] {
  if (!hasValue(feature, status)) return undefined;
  switch (feature.type) {
    case 'INT64':
      return { $case: 'int64Val', value: int };
    case 'DOUBLE':
      return { $case: 'doubleVal', value: double };
    case 'STRING':
      return { $case: 'stringVal', value: text.toWellFormed() };
    case 'BOOL':
      return { $case: 'boolVal', value: (int & 1n) === 1n };
    default:
      return { $case: 'unixTimestampVal', value: floorSeconds(int) };
  }
}

/** A value in JSON, numbers as the text that stands for them. */
function jsonValue(feature: PlannedFeature, one: Cell): unknown {
  const value = protoValue(feature, one);
  if (value === undefined) return null;
  if (value.$case === 'doubleVal') {
    if (!Number.isFinite(value.value)) return String(value.value);
    return { number: value.value };
  }
  return typeof value.value === 'bigint' ? { digits: String(value.value) } : value.value;
}

test("the bytes are those of protobuf's own encoder, and the JSON says the same", () => {
  fc.assert(
    fc.property(answerInput, ({ cells, times, keys, names }) => {
      const matrix = fill(cells, times);
      const requestKeys: RequestKey[] = [
        {
          name: 'id',
          kind: 'INT64',
          values: keys.map((key) => (Number.isSafeInteger(Number(key)) ? Number(key) : key)),
          nullRow: -1,
        },
        { name: 'name', kind: 'STRING', values: names, nullRow: -1 },
        { name: 'on', kind: 'BOOL', values: keys.map((key) => key > 0n), nullRow: -1 },
      ];
      const columns = ['id', 'name', 'on', ...plan.features.map(({ name }) => name)];
      const head = { json: jsonMetadata(columns, []), proto: protoMetadata(columns, []) };
      const zero = { seconds: 0n, nanos: 0 };
      const keyVector = (values: feastTypes.Value['val'][]) => ({
        values: values.map((val) => ({ val })),
        statuses: keys.map(() => feastServing.FieldStatus.PRESENT),
        eventTimestamps: keys.map(() => zero),
      });
      const message: feastServing.GetOnlineFeaturesResponse = {
        metadata: { featureNames: { val: columns }, featureViewMetadata: [] },
        results: [
          keyVector(keys.map((value) => ({ $case: 'int64Val', value }))),
          keyVector(names.map((value) => ({ $case: 'stringVal', value: value.toWellFormed() }))),
          keyVector(keys.map((key) => ({ $case: 'boolVal', value: key > 0n }))),
          ...plan.features.map((feature, position) => ({
            values: (cells[position] ?? []).map((one) => ({ val: protoValue(feature, one) })),
            statuses: (cells[position] ?? []).map(({ status }) => feastServing.FieldStatus[statusOf(status)]),
            eventTimestamps: (times[feature.view] ?? []).map((time) => ({
              seconds: BigInt(Math.floor(time / 1e6)),
              nanos: (time % 1e6) * 1000,
            })),
          })),
        ],
        status: false,
      };
      const expected = Buffer.from(feastServing.GetOnlineFeaturesResponse.encode(message).finish());
      expect(encodeProto({ head, keys: requestKeys, matrix }).toString('hex')).toBe(expected.toString('hex'));
      checkJson(encodeJson({ head, keys: requestKeys, matrix }), columns, cells, times, keys, names);
    }),
    { numRuns: 150 },
  );
});

function checkJson(
  bytes: Buffer,
  columns: readonly string[],
  cells: readonly (readonly Cell[])[],
  times: readonly (readonly number[])[],
  keys: readonly bigint[],
  names: readonly string[],
): void {
  const answer = JSON.parse(bytes.toString(), ((_key: string, value: unknown, { source = '' }: { source?: string }) =>
    typeof value !== 'number' ? value : /^-?\d+$/.test(source) ? { digits: source } : { number: value }) as (
    key: string,
    value: unknown,
  ) => unknown) as {
    results: { values: unknown[]; statuses: string[]; event_timestamps: string[] }[];
    metadata: object;
  };
  expect(answer.metadata).toEqual({ feature_names: columns });
  const [ids, texts, bools, ...features] = answer.results;
  expect(ids?.values).toEqual(keys.map((key) => ({ digits: String(key) })));
  expect(texts?.values).toEqual(names);
  expect(bools?.values).toEqual(keys.map((key) => key > 0n));
  expect(ids?.event_timestamps).toEqual(keys.map(() => '1970-01-01T00:00:00Z'));
  for (const [position, feature] of plan.features.entries()) {
    const column = cells[position] ?? [];
    expect(features[position]?.values).toEqual(column.map((one) => jsonValue(feature, one)));
    expect(features[position]?.statuses).toEqual(column.map(({ status }) => statusOf(status)));
    expect(features[position]?.event_timestamps).toEqual((times[feature.view] ?? []).map(timeText));
  }
}

function timeText(us: number): string {
  const whole = new Date(Math.floor(us / 1e6) * 1000).toISOString().slice(0, 19);
  const micros = us % 1e6;
  if (micros === 0) return `${whole}Z`;
  return micros % 1000 === 0
    ? `${whole}.${String(micros / 1000).padStart(3, '0')}Z`
    : `${whole}.${String(micros).padStart(6, '0')}Z`;
}
