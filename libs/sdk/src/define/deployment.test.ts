import { expect, test } from 'vitest';
import { deployment, model, parseYamlDefinitions } from './index.ts';

test('a deployment with a unit and rules is the same in TypeScript and YAML', () => {
  const made = (name: string) => model(name, { owner: 'risk', uri: `${name}.onnx`, sha256: 'a'.repeat(64) });
  const inTypeScript = deployment('fraud', {
    owner: 'risk',
    targets: [{ model: made('a'), version: '@champion', weight: 9 }, { model: made('b') }],
    unit: 'keys.customer',
    rules: [{ name: 'beta', when: 'headers["x-tenant"] == "beta"', targets: [{ model: made('b') }] }],
  });
  const [inYaml] = parseYamlDefinitions(
    `kind: deployment
name: fraud
owner: risk
targets: [{ model: a, version: '@champion', weight: 9 }, { model: b }]
unit: keys.customer
rules:
  - name: beta
    when: headers["x-tenant"] == "beta"
    targets: [{ model: b }]
`,
    'fraud.yaml',
  );
  expect(inYaml?.spec).toEqual(inTypeScript.definition.spec);
  expect(inYaml?.spec).toMatchObject({ value: { unit: 'keys.customer', rules: [{ targets: [{ weight: 1 }] }] } });
});
