import { createFileRegistry, type DescMessage, type FileRegistry, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import type { definitions } from '@millrace/contracts';
import { SchemaError } from '../bad-payload.ts';

export type Message = { readonly message: DescMessage; readonly registry: FileRegistry };

export const descriptorBytesMax = 256 * 1024;

/** The message of a descriptor set. Throws SchemaError that says what is missing. */
export function parseMessage({ descriptorSet, message: name }: definitions.ProtobufSchema): Message {
  if (descriptorSet.length > descriptorBytesMax)
    throw new SchemaError(
      `the descriptor set has ${descriptorSet.length} bytes, more than the limit of ${descriptorBytesMax}; leave comments and files that the message does not need out`,
    );
  let registry: FileRegistry;
  try {
    registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptorSet));
  } catch (cause) {
    throw new SchemaError(
      `the descriptor set cannot be read: ${(cause as Error).message}; make it with "buf build -o" or "protoc --include_imports --descriptor_set_out"`,
    );
  }
  const message = registry.getMessage(name);
  if (message !== undefined) return { message, registry };
  const all = [...registry].flatMap((each) => (each.kind === 'message' ? [each.typeName] : []));
  const own = all.filter((each) => !each.startsWith('google.protobuf.'));
  throw new SchemaError(`there is no message "${name}"; messages: ${own.slice(0, 20).join(', ') || 'none'}`);
}
