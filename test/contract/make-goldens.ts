/** Records the bytes of every message with every field set: `node test/contract/make-goldens.ts`. Existing goldens are never rewritten. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import {
  create,
  createFileRegistry,
  type DescField,
  type DescMessage,
  fromBinary,
  ScalarType,
  toBinary,
} from '@bufbuild/protobuf';
import { reflect, reflectList, reflectMap } from '@bufbuild/protobuf/reflect';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { descriptorSetPath } from '@millrace/contracts';

export const goldensFile: string = new URL('./goldens.json', import.meta.url).pathname;

export function messages(): DescMessage[] {
  const files = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptorSetPath)));
  return [...files].filter(
    (desc): desc is DescMessage => desc.kind === 'message' && /^(millrace|inference)\./.test(desc.typeName),
  );
}

if (import.meta.main) {
  const goldens: Record<string, string> = existsSync(goldensFile) ? JSON.parse(readFileSync(goldensFile, 'utf8')) : {};
  for (const desc of messages())
    goldens[desc.typeName] ??= Buffer.from(toBinary(desc, filled(desc, 0))).toString('hex');
  writeFileSync(goldensFile, `${JSON.stringify(Object.fromEntries(Object.entries(goldens).sort()), null, 2)}\n`);
  process.stdout.write(`${Object.keys(goldens).length} goldens\n`);
}

/** Every field set, of a oneof the last; nested messages to a depth of four. */
function filled(desc: DescMessage, depth: number) {
  const message = reflect(desc, create(desc));
  for (const field of desc.fields) {
    if (depth > 3 && field.message) continue;
    if (field.fieldKind === 'list') {
      const list = reflectList(field);
      for (const seed of [1, 2]) list.add(element(field, seed, depth));
      message.set(field, list);
    } else if (field.fieldKind === 'map') {
      const map = reflectMap(field);
      map.set('key', element(field, 3, depth));
      message.set(field, map);
    } else {
      message.set(field, element(field, field.number, depth));
    }
  }
  return message.message;
}

function element(field: DescField, seed: number, depth: number) {
  if (field.message) return reflect(field.message, filled(field.message, depth + 1));
  if (field.enum) return field.enum.values.at(-1)?.number ?? 0;
  switch (field.scalar) {
    case ScalarType.STRING:
      return `${field.name}-${seed}`;
    case ScalarType.BYTES:
      return Uint8Array.of(seed, 0, 255);
    case ScalarType.BOOL:
      return true;
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return seed + 0.5;
    case ScalarType.INT64:
    case ScalarType.SFIXED64:
      return -BigInt(seed) - 2n ** 53n;
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return BigInt(seed) + 2n ** 63n;
    default:
      return seed;
  }
}
