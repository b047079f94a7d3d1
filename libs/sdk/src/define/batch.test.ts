import { expect, test } from 'vitest';
import { int64, timestamp } from './fields.ts';
import { source } from './source.ts';
import { parseYamlDefinitions } from './yaml.ts';

const yaml = (batch: string) => `
kind: source
name: orders
event_time: at
fields: { at: TIMESTAMP, cents: INT64 }
batch: { ${batch} }
`;

test('batch inputs in YAML and TypeScript are the same definition', () => {
  const [fromYaml] = parseYamlDefinitions(
    yaml(`
      daily: { location: 's3://lake/**/*.csv', schedule: '0 5 * * *', columns: { Betrag: cents, junk: '' }, nulls: [NA],
               time_format: day_first, delimiter: ';', encoding: latin1, when_changed: read_again },
      live: { query: 'SELECT * FROM shop.orders', watermark: at, overlap: 1h, id: [order, line] }`),
    'orders.yaml',
  );
  const { definition } = source('orders', {
    eventTime: 'at',
    fields: { at: timestamp(), cents: int64() },
    batch: {
      daily: {
        location: 's3://lake/**/*.csv',
        schedule: '0 5 * * *',
        columns: { Betrag: 'cents', junk: '' },
        nulls: ['NA'],
        timeFormat: 'day_first',
        delimiter: ';',
        encoding: 'latin1',
        whenChanged: 'read_again',
      },
      live: { query: 'SELECT * FROM shop.orders', watermark: 'at', overlap: '1h', id: ['order', 'line'] },
    },
  });
  expect(fromYaml?.spec).toEqual(definition.spec);
  expect(definition.spec?.$case === 'source' && definition.spec.value.batchInputs[1]).toMatchObject({
    overlapUs: 3_600_000_000n,
    format: { idColumns: ['order', 'line'] },
  });
});

test.each([
  ["daily: { path: 'x.csv' }", 'path'],
  ["daily: { location: 'x.csv', format: xlsx }", 'format'],
  ["daily: { location: 'x.csv', overlap: soon }", 'overlap'],
])('%s is refused by its field', (batch, field) => {
  expect(() => parseYamlDefinitions(yaml(batch), 'orders.yaml')).toThrow(
    new RegExp(`source "orders": batch.daily.*${field}`),
  );
});
