import { sourceFieldsOf } from '@millrace/registry';
import { expectationProblems } from '@millrace/sources';
import { expect, test } from 'vitest';
import { parseYamlDefinitions } from '../define/yaml.ts';
import { importContract } from './import-contract.ts';

const contract = `
apiVersion: v3.1.0
kind: DataContract
id: 53581432-6c55-4ba2-a65f-72344a91553a
version: 1.2.0
status: active
description: { purpose: Orders of the shop }
team: { members: [] }
schema:
  - name: orders
    logicalType: object
    properties:
      - { name: order_id, logicalType: string, required: true, primaryKey: true, logicalTypeOptions: { pattern: '^O[0-9]+$', maxLength: 20 } }
      - { name: line, logicalType: integer, primaryKey: true, logicalTypeOptions: { minimum: 1 } }
      - name: amount
        logicalType: number
        logicalTypeOptions: { exclusiveMinimum: 0, multipleOf: 5 }
        quality:
          - { metric: nullValues, mustBeLessThan: 5, unit: percent, description: mostly there }
          - { type: sql, query: 'SELECT 1', mustBe: 1 }
      - name: state
        logicalType: string
        required: true
        quality:
          - { type: library, metric: invalidValues, arguments: { validValues: [open, paid] }, mustBe: 0, severity: warning }
          - { metric: missingValues, arguments: { missingValues: ['', N/A, null] }, mustBe: 0 }
      - { name: placed_at, logicalType: timestamp, required: true }
      - { name: items, logicalType: array }
      - { name: Shop, logicalType: string }
      - { name: email, logicalType: string, unique: true }
    quality:
      - { metric: rowCount, mustBeBetween: [100, 120000] }
      - { metric: duplicateValues, arguments: { properties: [order_id, line] }, mustBe: 0, name: no twins }
      - { type: text, description: People are happy }
slaProperties:
  - { property: freshness, value: 4, unit: h, element: orders.placed_at }
  - { property: latency, value: 4, unit: d }
  - { property: freshness, value: 1, unit: d, element: others.at }
`;

test('a contract becomes a source that can be applied, with its rules as expectations', () => {
  const { yaml, sources } = importContract(contract, 'orders.odcs.yaml');
  expect(sources).toEqual(['orders']);
  const [definition] = parseYamlDefinitions(yaml, 'orders.yaml');
  if (definition?.spec?.$case !== 'source') throw new Error('no source');
  const { value } = definition.spec;
  const typed = sourceFieldsOf(value);
  expect(expectationProblems(value, typed)).toEqual([]);
  expect(value.eventTimeField).toBe('placed_at');
  expect(typed.map(({ name, type, nullable }) => `${name} ${type}${nullable ? '?' : ''}`)).toEqual([
    'order_id STRING',
    'line INT64',
    'amount DOUBLE?',
    'state STRING',
    'placed_at TIMESTAMP',
    'email STRING?',
  ]);
  const checks = value.expectations.map(({ name, check, severity }) => `${name} ${check?.$case} ${severity}`);
  expect(checks).toEqual([
    'order_id_pattern matches 0',
    'order_id_maxlength matches 0',
    'line_minimum inRange 0',
    'amount_exclusiveminimum condition 0',
    'amount_null_values completeness 0',
    'state_invalid_values inSet 1',
    'state_missing_values condition 0',
    'email_unique unique 0',
    'order_id_line_unique unique 0',
    'row_count volume 0',
    'no_twins unique 0',
    'freshness freshness 0',
  ]);
  expect(value.expectations.find(({ name }) => name === 'row_count')?.check?.value).toMatchObject({
    minRows: 100n,
    maxRows: 120_000n,
  });
  expect(value.expectations.find(({ name }) => name === 'amount_null_values')?.check?.value).toMatchObject({
    minRate: 0.95,
  });
});

test('what a contract says and a source does not is reported, nothing is dropped in silence', () => {
  const { notMapped } = importContract(contract, 'orders.odcs.yaml');
  const said = notMapped.map(({ path, what }) => `${path}: ${what}`).join('\n');
  for (const part of [
    'team: is not read',
    'multipleOf: is not checked',
    'rules of type "sql" are not run',
    'rules of type "text" are not run',
    'logical type "array" has no field type',
    '"Shop" is no name of a field',
    'uniqueness is checked among events less than 24h apart',
    'rows are counted by 24h',
    'slaProperties.1 (latency): is not checked',
    '"less than" is "at most"',
  ])
    expect(said).toContain(part);
});

test('what is no data contract is refused with everything that is wrong', () => {
  const broken = contract.replace('v3.1.0', 'v2.2.2').replace('DataContract', 'Contract').replace('id: 535', 'ix: 535');
  expect(() => importContract(broken, 'a.yaml')).toThrow(
    /apiVersion: only ODCS v3[\s\S]*kind:[\s\S]*|kind:[\s\S]*apiVersion/,
  );
  expect(() => importContract(broken, 'a.yaml')).toThrow(/a\.yaml: id: /);
  expect(() => importContract('schema: [', 'b.yaml')).toThrow(/b\.yaml: /);
});
