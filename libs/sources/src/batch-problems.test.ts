import { definitions } from '@millrace/contracts';
import { expect, test } from 'vitest';
import { batchProblems } from './batch-problems.ts';

const { INT64, TIMESTAMP } = definitions.FieldType;
const good = { name: 'daily', location: 'data/*.csv', schedule: '0 5 * * *' };
const query = {
  name: 'orders',
  query: 'SELECT * FROM shop.orders',
  watermarkColumn: 'at',
  format: { idColumns: ['id'] },
};

function problemsOf(...batchInputs: readonly Parameters<typeof definitions.BatchInput.fromPartial>[0][]): string {
  const source = definitions.Source.fromPartial({
    fields: [
      { name: 'at', type: TIMESTAMP },
      { name: 'n', type: INT64 },
    ],
    eventTimeField: 'at',
    batchInputs: batchInputs.map((input) => definitions.BatchInput.fromPartial(input)),
  });
  return batchProblems(source)
    .map(({ path, problem }) => `${path}: ${problem}`)
    .join('\n');
}

test('files and queries with schedules of five and six fields are fine', () => {
  expect(problemsOf(good, { ...query, schedule: '*/10 * * * * *' }, { ...good, name: 'by-hand', schedule: '' })).toBe(
    '',
  );
});

test.each([
  ['schedule "daily" is not cron', [{ ...good, schedule: 'daily' }]],
  ['it never comes', [{ ...good, schedule: '0 0 30 2 *' }]],
  ['two batch inputs are named "daily"', [good, good]],
  ['give either a location or a query', [{ ...good, query: 'SELECT 1' }]],
  ['give either a location or a query', [{ name: 'none' }]],
  ['a query needs the column that grows', [{ ...query, watermarkColumn: '' }]],
  ["a query needs the columns that make a row's id", [{ ...query, format: {} }]],
  ['not a SELECT', [{ ...query, query: 'DROP TABLE x' }]],
  ['a watermark is for a query', [{ ...good, overlapUs: 5n }]],
  ['mapped to "m", which is not a field', [{ ...good, format: { columns: new Map([['N', 'm']]) } }]],
  ['is not a name', [{ ...good, name: 'A' }]],
  ['over the limit of 8', Array.from({ length: 9 }, (_, at) => ({ ...good, name: `n${at}` }))],
] as const)('is refused: %s', (says, inputs) => {
  expect(problemsOf(...(inputs as readonly Parameters<typeof definitions.BatchInput.fromPartial>[0][]))).toContain(
    says,
  );
});
