import type { Lifecycle } from '@millrace/runtime';
import type { ModelLoader } from '../app/model-book.ts';
import { createCustomRuntime } from './custom/custom-runtime.ts';
import { createOnnxRuntime, type RuntimeOptions } from './onnx-runner.ts';
import { createRemoteRuntime } from './remote/remote-runtime.ts';

type Options = RuntimeOptions & Parameters<typeof createCustomRuntime>[0] & Parameters<typeof createRemoteRuntime>[0];

/** Loads a model into what runs its format: workers of this process, processes of its own, or another server. */
export async function openRuntimes(life: Lifecycle, options: Options): Promise<ModelLoader> {
  const workers = await life.start('workers', async () => createOnnxRuntime(options));
  const custom = createCustomRuntime(options);
  const remote = createRemoteRuntime(options);
  return (request) =>
    (request.format === 'custom' ? custom : request.format === 'remote' ? remote : workers).load(request);
}
