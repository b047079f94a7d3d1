import { definitions } from '@millrace/contracts';
import { expect, test } from 'vitest';
import { cel, double, entity, featureView, session, sliding, source, string } from './index.ts';
import { parseYamlDefinitions } from './yaml.ts';

const orders = source('orders', { key: 'shop', fields: { shop: string(), amount: double({ nullable: true }) } });
const shop = entity('shop', { joinKeys: { shop: 'STRING' } });
const hour = { window: sliding('1h') };

test('ratios, changes, lists and sessions are the same in TypeScript and in YAML', () => {
  const view = featureView('v', {
    entity: shop,
    source: orders,
    features: (of) => ({
      share: of.ratio(of.count({ ...hour, filter: 'amount > 9.0' }), of.count(hour)),
      doubled: of.ratio(of.sum(cel('amount * 2.0'), hour), of.sum('amount', hour)),
      rise: of.change(of.mean('amount', hour), { offset: '1d' }),
      z: of.zscore('amount', hour),
      slope: of.trend('amount', hour),
      last: of.lastN('amount', { window: session('20m'), n: 3 }),
      spread: of.histogram('amount', { ...hour, edges: [1, 10] }),
      fresh: of.decayedSum('amount', { ...hour, halfLife: '10m' }),
    }),
  });
  const yaml = `
kind: feature_view
name: v
entity: shop
source: orders
features:
  share: { function: ratio, window: 1h, numerator: { function: count, filter: amount > 9.0 }, denominator: { function: count } }
  doubled: { function: ratio, window: 1h, numerator: { function: sum, input: amount * 2.0 }, denominator: { function: sum, field: amount } }
  rise: { function: change, of: mean, field: amount, window: 1h, offset: 1d }
  z: { function: zscore, field: amount, window: 1h }
  slope: { function: trend, field: amount, window: 1h }
  last: { function: last_n, field: amount, window: { session: 20m }, n: 3 }
  spread: { function: histogram, field: amount, window: 1h, edges: [1, 10] }
  fresh: { function: decayed_sum, field: amount, window: 1h, half_life: 10m }
`;
  const [parsed] = parseYamlDefinitions(yaml, 'v.yaml');
  expect(definitions.Definition.encode({ ...view.definition, file: 'v.yaml' }).finish()).toEqual(
    definitions.Definition.encode(parsed as definitions.Definition).finish(),
  );
});

test('a ratio of two windows is refused where it is written', () => {
  expect(() =>
    featureView('v', {
      entity: shop,
      source: orders,
      features: (of) => ({ r: of.ratio(of.count(hour), of.count({ window: sliding('2h') })) }),
    }),
  ).toThrow('a ratio is of two aggregations over the same window');
});
