import { definitions } from '@millrace/contracts';
import type { NatsLink } from '@millrace/events';
import type { ViewDefinition } from '@millrace/features';
import { MeshError } from '@millrace/kernel';
import { type KV, Kvm } from '@nats-io/kv';
import type { Kind } from './kinds.ts';

/** A name's line in the manifest. */
export interface ManifestEntry {
  readonly version: string;
  readonly owner: string;
  readonly description: string;
  readonly tags: Readonly<Record<string, string>>;
  /** The hash of the whole spec, of what is for people too: when it differs under one version, the object is read again. */
  readonly text?: string;
  readonly file: string;
  readonly createdUs: number;
  readonly previousVersions: readonly string[];
}

/** What is current: `<kind>/<name>` → entry. Moved as a whole by compare-and-set, which makes an apply atomic. */
export type Manifest = Readonly<Record<string, ManifestEntry>>;

export interface Head {
  readonly manifest: Manifest;
  /** 0 before the first apply. */
  readonly revision: number;
}

/** The registry's bucket: objects, immutable in what affects values, and the head that says which are current. */
export interface RegistryStore {
  readonly kv: KV;
  head(): Promise<Head>;
  /** CONCURRENT_CHANGE when the head is not at `expected` any more. Returns the new revision. */
  moveHead(manifest: Manifest, expected: number): Promise<number>;
  putObject(kind: Kind, definition: definitions.Definition, version: string): Promise<void>;
  object(kind: Kind, name: string, version: string): Promise<definitions.Definition | undefined>;
  putView(view: ViewDefinition): Promise<void>;
  view(name: string, version: string): Promise<ViewDefinition | undefined>;
}

const bucket = 'REGISTRY';
export const headKey = 'head';
/** Revisions of the head that the bucket keeps: its history. */
const headHistory = 64;
/** What names and versions are made of; nothing is kept under others, and a wildcard is not a key. */
const keyToken = /^[\w-]+$/;

export async function openRegistryStore({ js }: NatsLink): Promise<RegistryStore> {
  const kv = await new Kvm(js).create(bucket, { history: headHistory });
  const objectKey = (kind: Kind, name: string, version: string) => `obj.${kind}.${name}.${version}`;
  const viewKey = (name: string, version: string) => `resolved.feature_view.${name}.${version}`;
  return {
    kv,
    async head() {
      const entry = await kv.get(headKey);
      return entry ? parseHead(entry.value, entry.revision) : { manifest: {}, revision: 0 };
    },
    async moveHead(manifest, expected) {
      const bytes = Buffer.from(JSON.stringify(manifest));
      try {
        return await (expected === 0 ? kv.create(headKey, bytes) : kv.update(headKey, bytes, expected));
      } catch (cause) {
        const current = await kv.get(headKey).catch(() => undefined);
        if (current && current.revision !== expected) {
          throw new MeshError(
            'CONCURRENT_CHANGE',
            `the registry moved from revision ${expected} to ${current.revision} meanwhile; plan and apply again`,
            { expected, current: current.revision },
            { cause },
          );
        }
        throw new MeshError(
          'STORE_UNAVAILABLE',
          `the registry could not be written: ${(cause as Error).message}`,
          {},
          { cause },
        );
      }
    },
    putObject: async (kind, definition, version) => {
      await kv.put(objectKey(kind, definition.name, version), definitions.Definition.encode(definition).finish());
    },
    async object(kind, name, version) {
      if (!keyToken.test(name) || !keyToken.test(version)) return undefined;
      const entry = await kv.get(objectKey(kind, name, version));
      return entry ? definitions.Definition.decode(entry.value) : undefined;
    },
    putView: async (view) => {
      await kv.put(viewKey(view.name, view.version), Buffer.from(JSON.stringify(view)));
    },
    async view(name, version) {
      if (!keyToken.test(name) || !keyToken.test(version)) return undefined;
      const entry = await kv.get(viewKey(name, version));
      return entry ? entry.json<ViewDefinition>() : undefined;
    },
  };
}

export function parseHead(bytes: Uint8Array, revision: number): Head {
  return { manifest: JSON.parse(Buffer.from(bytes).toString('utf8')) as Manifest, revision };
}
