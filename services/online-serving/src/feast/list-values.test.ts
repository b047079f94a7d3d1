import { definitions, feastServing, serving } from '@millrace/contracts';
import type { List, ViewDefinition } from '@millrace/features';
import { expect, test } from 'vitest';
import { compilePlan } from '../domain/compile-plan.ts';
import { createMatrix } from '../domain/matrix.ts';
import { encodeJson } from './encode-json.ts';
import { encodeProto } from './encode-proto.ts';
import { jsonMetadata, protoMetadata } from './metadata.ts';

const types = ['INT64', 'DOUBLE', 'STRING', 'BOOL', 'TIMESTAMP'] as const;
const view: ViewDefinition = {
  name: 'a',
  version: 'a-1',
  entity: 'driver',
  joinKeys: [{ name: 'INT64', type: 'INT64', field: 'INT64' }],
  source: 'events',
  fields: types.map((type) => ({ name: type, type, nullable: true })),
  features: types.map((type) => ({
    name: type.toLowerCase(),
    function: 'last_n' as const,
    field: type,
    n: 3,
    window: { t: 'lifetime' as const },
    filter: '',
    ddof: 1,
  })),
};
const lists: readonly List[] = [
  [2n ** 60n, -1],
  [0.5, 2],
  ['é', '"'],
  [true, false],
  [1_500_000, -1],
];

test('lists are list values in Feast too, in protobuf and in JSON, and nothing where there is no row', () => {
  const plan = compilePlan(
    {
      name: 's',
      version: '1',
      spec: definitions.FeatureService.fromPartial({
        features: types.map((type) => ({ view: 'a', feature: type.toLowerCase() })),
      }),
    },
    () => view,
  );
  const matrix = createMatrix(plan, Float64Array.of(1, 1), { sameAsOf: true, metadata: true });
  for (const [at, list] of lists.entries()) {
    (matrix.lists[at] as List[])[0] = list;
    matrix.bytes[matrix.statusesAt + at] = serving.ValueStatus.PRESENT;
    matrix.bytes[matrix.statusesAt + lists.length + at] = serving.ValueStatus.NOT_FOUND;
  }
  const names = plan.features.map(({ name }) => name);
  const answer = { head: { json: jsonMetadata(names, []), proto: protoMetadata(names, []) }, keys: [], matrix };
  const { results } = feastServing.GetOnlineFeaturesResponse.decode(encodeProto(answer));
  expect(results.map(({ values }) => values[0]?.val)).toEqual([
    { $case: 'int64ListVal', value: { val: [2n ** 60n, -1n] } },
    { $case: 'doubleListVal', value: { val: [0.5, 2] } },
    { $case: 'stringListVal', value: { val: ['é', '"'] } },
    { $case: 'boolListVal', value: { val: [true, false] } },
    { $case: 'unixTimestampListVal', value: { val: [1n, -1n] } },
  ]);
  for (const { values, statuses } of results) {
    expect(values[1]?.val).toBeUndefined();
    expect(statuses).toEqual([feastServing.FieldStatus.PRESENT, feastServing.FieldStatus.NOT_FOUND]);
  }
  const json = encodeJson(answer).toString();
  expect(JSON.parse(json).results.map(({ values }: { values: unknown[] }) => values)).toEqual([
    [[2 ** 60, -1], null],
    [[0.5, 2], null],
    [['é', '"'], null],
    [[true, false], null],
    [[1, -1], null],
  ]);
  expect(json).toContain('[1152921504606846976,-1]');
  expect(json).toContain('[0.5,2.0]');
});
