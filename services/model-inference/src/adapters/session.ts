import type { SessionShape, WireTensor } from './onnx-messages.ts';

/** A model that is open in a worker, whatever runs it. */
export interface Session {
  readonly shape: SessionShape;
  run(feeds: readonly WireTensor[], fetches: readonly string[]): Promise<readonly WireTensor[]>;
  release(): Promise<void>;
}
