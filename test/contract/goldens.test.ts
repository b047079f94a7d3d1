import { readFileSync } from 'node:fs';
import * as contracts from '@millrace/contracts';
import { expect, test } from 'vitest';
import { goldensFile, messages } from './make-goldens.ts';

interface Codec {
  encode(message: unknown): { finish(): Uint8Array };
  decode(bytes: Uint8Array): unknown;
}

const goldens = JSON.parse(readFileSync(goldensFile, 'utf8')) as Readonly<Record<string, string>>;

test('every message of the contracts has recorded bytes', () => {
  expect(Object.keys(goldens).length).toBeGreaterThan(80);
  const missing = messages().filter(({ typeName }) => goldens[typeName] === undefined && !/Entry$/.test(typeName));
  expect(missing.map(({ typeName }) => `${typeName}: run node test/contract/make-goldens.ts`)).toEqual([]);
});

test.each(Object.entries(goldens))('the recorded bytes of %s still decode, with nothing lost', (typeName, hex) => {
  const bytes = Buffer.from(hex, 'hex');
  const codec = codecOf(typeName);
  const decoded = codec.decode(bytes);
  expect(Buffer.from(codec.encode(decoded).finish()).toString('hex')).toBe(hex);
});

/** Packages whose messages are in several namespaces. */
const spacesOf: Readonly<Record<string, readonly object[]>> = {
  registry: [contracts.registry, contracts.definitions, contracts.expectations],
  ingestion: [contracts.ingestion, contracts.loads],
  compute: [contracts.compute, contracts.trainingSets, contracts.featureQuality],
  serving: [contracts.serving, contracts.search],
  inference: [contracts.inference, contracts.rollouts, contracts.aliases, contracts.deployments],
};

/** ts-proto writes a nested message `Outer.Inner` as `Outer_Inner`. */
function codecOf(typeName: string): Codec {
  const name = typeName.replace(/^.*?\.(?=[A-Z])/, '').replaceAll('.', '_');
  const area = /^millrace\.(\w+)\.v1\./.exec(typeName)?.[1];
  const spaces =
    area === undefined
      ? [contracts.oip, contracts.modelConfig]
      : (spacesOf[area] ?? [(contracts as unknown as Record<string, object>)[area]]);
  const codec = spaces
    .map((space) => (space as Record<string, Codec | undefined> | undefined)?.[name])
    .find((found) => found !== undefined);
  if (!codec) throw new Error(`the generated code has no message ${typeName}`);
  return codec;
}
