import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { loadDefinitions } from './index.ts';

const folder = mkdtempSync(join(tmpdir(), 'millrace-every-'));
afterAll(() => rmSync(folder, { recursive: true }));

const view = `kind: feature_view
name: spend
entity: user
source: clicks
features:
  clicks_1h: { function: count, window: 1h }
  clicks_7d: { function: count, window: 7d }
`;
const service = `kind: feature_service
name: ranking
features: [{ view: spend, feature: clicks_1h, as: now }, { view: spend, feature: "*", default: 0 }]
`;

function file(name: string, text: string): string {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

test('view:* stands for every feature of a view of the same load, in its order, with the options of the reference', async () => {
  const loaded = await loadDefinitions([file('service.yaml', service), file('view.yaml', view)]);
  const spec = loaded.find(({ name }) => name === 'ranking')?.spec;
  const features = spec?.$case === 'featureService' ? spec.value.features : [];
  expect(features.map(({ feature, alias }) => [feature, alias])).toEqual([
    ['clicks_1h', 'now'],
    ['clicks_1h', ''],
    ['clicks_7d', ''],
  ]);
  expect(features.map(({ defaultValue }) => defaultValue?.kind?.value)).toEqual([undefined, 0, 0]);
});

test('view:* of a view that is not in the load is refused with the remedy', async () => {
  await expect(loadDefinitions([file('alone.yaml', service)])).rejects.toThrow(
    /alone\.yaml: feature_service "ranking": "spend:\*" needs feature view "spend" in the same load/,
  );
});
