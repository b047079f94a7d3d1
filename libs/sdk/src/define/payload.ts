import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { derivedFields, SchemaError } from '@millrace/payloads';

/** A path is relative to the working directory, in YAML to its file; a URL, as `new URL('order.avsc', import.meta.url)`, to the module. */
export type SchemaFile = string | URL;

export type PayloadSpec =
  | 'json'
  /** A schema, its JSON, or a file of it; `confluentId`: its id in a Confluent registry, when payloads come in Confluent's wire format. */
  | { readonly avro: SchemaFile | Readonly<Record<string, unknown>>; readonly confluentId?: number }
  /** A `.proto` file, or a descriptor set of `buf build -o` or `protoc --include_imports --descriptor_set_out`; the message's full name. */
  | { readonly protobuf: SchemaFile | Uint8Array; readonly message: string };

const descriptorBytesMax = 16 * 1024 * 1024;

/** The payload of a definition, with its files read. INVALID_DEFINITION names what cannot be. */
export function payloadToProto(spec: PayloadSpec | undefined, folder: string): definitions.PayloadSchema | undefined {
  if (spec === undefined || spec === 'json') return undefined;
  if ('avro' in spec)
    return {
      format: {
        $case: 'avro',
        value: { schemaJson: schemaJsonOf(spec.avro, folder), confluentId: spec.confluentId ?? 0 },
      },
    };
  const { protobuf, message } = spec;
  const descriptorSet =
    protobuf instanceof Uint8Array ? Buffer.from(protobuf) : descriptorsOf(pathOf(protobuf, folder));
  return { format: { $case: 'protobuf', value: { descriptorSet, message } } };
}

/** The fields of a source that names none: those of its payload. */
export function fieldsOfPayload(
  name: string,
  payload: definitions.PayloadSchema | undefined,
  eventTimeField: string,
): definitions.SourceField[] {
  if (payload === undefined)
    throw invalid(`source "${name}" has no fields; name them, or give it a payload with an Avro or protobuf schema`);
  try {
    return derivedFields(payload, eventTimeField);
  } catch (cause) {
    if (!(cause instanceof SchemaError)) throw cause;
    throw invalid(`source "${name}": its fields cannot be those of its payload: ${cause.message}`, cause);
  }
}

function schemaJsonOf(avro: SchemaFile | Readonly<Record<string, unknown>>, folder: string): string {
  if (typeof avro === 'object' && !(avro instanceof URL)) return JSON.stringify(avro);
  if (typeof avro === 'string' && avro.trimStart().startsWith('{')) return avro;
  return read(pathOf(avro, folder)).toString('utf8');
}

function descriptorsOf(path: string): Buffer {
  return path.endsWith('.proto') ? compile(path) : read(path);
}

/** By buf, with the file's folder, or the buf module around it, as the root of imports. */
function compile(path: string): Buffer {
  const buf = createRequire(import.meta.url).resolve('@bufbuild/buf/bin/buf');
  const args = ['build', basename(path), '--exclude-source-info', '--as-file-descriptor-set', '-o', '-#format=binpb'];
  read(path);
  try {
    return execFileSync(process.execPath, [buf, ...args], {
      cwd: dirname(path),
      stdio: ['ignore', 'pipe', 'pipe'],
      maxBuffer: descriptorBytesMax,
      timeout: 60_000,
    });
  } catch (cause) {
    const { stderr } = cause as { readonly stderr?: Buffer };
    throw invalid(`"${path}" does not compile: ${stderr?.toString('utf8').trim() || (cause as Error).message}`, cause);
  }
}

function pathOf(file: SchemaFile, folder: string): string {
  return file instanceof URL ? fileURLToPath(file) : resolve(folder, file);
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw invalid(`no file "${path}" of a payload's schema`, cause);
  }
}

function invalid(message: string, cause?: unknown): MeshError {
  return new MeshError('INVALID_DEFINITION', message, {}, { cause });
}
