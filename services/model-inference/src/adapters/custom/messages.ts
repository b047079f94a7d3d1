import type { ModelSignature } from '@millrace/custom-model';
import type { Tensor } from '../../domain/tensor.ts';

/** What the service and the process of a custom model tell each other, over the process's own channel (V8's serialisation: no JSON). */
export type HostRequest =
  | ({ readonly t: 'load' } & ModuleSource)
  | {
      readonly t: 'predict';
      readonly id: number;
      readonly inputs: readonly (Tensor & { readonly name: string })[];
      readonly outputs: readonly string[];
    };

/** Everything that the module is made of; its process reads no file. */
export interface ModuleSource {
  readonly model: string;
  /** As registered: what its stack traces call it. */
  readonly uri: string;
  readonly bytes: Uint8Array;
  readonly parameters: Readonly<Record<string, string>>;
  readonly files: Readonly<Record<string, Uint8Array>>;
  /** The source of `@millrace/custom-model`. */
  readonly library: Uint8Array;
}

/** Written by code that is not ours: nothing of it is taken as it is. */
export type HostAnswer =
  | { readonly t: 'started' }
  | { readonly t: 'loaded'; readonly signature: ModelSignature }
  | { readonly t: 'failed'; readonly message: string }
  | { readonly t: 'done'; readonly id: number; readonly outputs: unknown }
  | { readonly t: 'threw'; readonly id: number; readonly message: string };
