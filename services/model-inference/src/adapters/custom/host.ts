/** The process of one custom model: loads the module that it is sent, and calls it. It imports nothing but Node. */
import { once } from 'node:events';
import { registerHooks } from 'node:module';
import { Worker } from 'node:worker_threads';
import type { HostAnswer, HostRequest, ModuleSource } from './messages.ts';

interface AnyModel {
  readonly signature?: unknown;
  load?(context: unknown): unknown;
  predict?(inputs: unknown, context: unknown): unknown;
}

/** Longer messages are cut. */
const messageMax = 2_000;
/** Names under which a module finds `defineModel` and the types. */
const libraryNames: readonly string[] = ['@millrace/custom-model', '@millrace/sdk'];
const libraryUrl = 'millrace-library:/custom-model.ts';

const [, , memoryMib = '256', mark = ''] = process.argv;
const send = (answer: HostAnswer) => process.send?.(answer);

let predictWith: ((request: HostRequest & { t: 'predict' }) => Promise<unknown>) | undefined;

const watchdog = new Worker(new URL('./watchdog.ts', import.meta.url), {
  workerData: { bytesMax: Number(memoryMib) * 2 ** 20, mark },
  resourceLimits: { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 8 },
});
watchdog.unref();
await once(watchdog, 'message');
// the module itself starts no threads and reads no files
const { permission } = process as unknown as { readonly permission: { drop(scope: string): void } };
for (const scope of ['worker', 'fs']) permission.drop(scope);

// what nobody catches ends the process, and its last words are why
process.on('uncaughtException', (error) => {
  console.error(textOf(error));
  process.exit(1);
});
process.on('message', async (request: HostRequest) => {
  if (request.t === 'load') {
    try {
      send({ t: 'loaded', signature: (await load(request)) as never });
    } catch (error) {
      send({ t: 'failed', message: textOf(error) });
    }
    return;
  }
  const { id } = request;
  try {
    send({ t: 'done', id, outputs: await predictWith?.(request) });
  } catch (error) {
    send({ t: 'threw', id, message: textOf(error) });
  }
});
send({ t: 'started' });

async function load(source: ModuleSource): Promise<unknown> {
  const { model: name, parameters, files } = source;
  const model = modelOf(await importModule(source), source.uri);
  const context = { model: name, parameters, files };
  const state = await model.load?.(context);
  predictWith = async ({ inputs, outputs }) => {
    const given = Object.fromEntries(inputs.map(({ name: input, shape, data }) => [input, { shape, data }]));
    const answer = (await model.predict?.(given, { ...context, state, outputs })) as
      | Record<string, unknown>
      | undefined;
    return outputs.map((output) => {
      const { shape, data } = (answer?.[output] ?? {}) as { readonly shape?: unknown; readonly data?: unknown };
      return { name: output, shape, data };
    });
  };
  return model.signature;
}

/** The module is the bytes that were registered, and nothing beside them but Node's own modules. */
function importModule({ uri, bytes, library }: ModuleSource): Promise<Record<string, unknown>> {
  const entry = `millrace-model:/${encodeURI(uri)}`;
  const formats = { [entry]: /\.m?ts$/.test(uri) ? 'module-typescript' : 'module', [libraryUrl]: 'module-typescript' };
  const sources: Readonly<Record<string, Uint8Array>> = { [entry]: bytes, [libraryUrl]: library };
  registerHooks({
    resolve(specifier, context, next) {
      const url = libraryNames.includes(specifier) ? libraryUrl : specifier;
      const format = formats[url];
      if (format !== undefined) return { url, format, shortCircuit: true };
      if (specifier.startsWith('node:')) return next(specifier, context);
      throw new Error(
        `imports "${specifier}"; a custom model is one file, so that its SHA-256 says all of it: bundle it (esbuild --bundle --platform=node --format=esm), or import node: modules and @millrace/sdk alone`,
      );
    },
    load(url, context, next) {
      const format = formats[url];
      return format === undefined ? next(url, context) : { format, source: sources[url], shortCircuit: true };
    },
  });
  return import(entry);
}

function modelOf(module: Record<string, unknown>, uri: string): AnyModel {
  const model = (module.model ?? module.default ?? module) as AnyModel;
  const missing = (['signature', 'predict'] as const).filter((part) => model?.[part] === undefined);
  if (missing.length === 0) return model;
  throw new Error(
    `"${uri}" exports no ${missing.join(' and no ')}; write: export const model = defineModel({ signature, load, predict })`,
  );
}

/** What was thrown, and where in the module. */
function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error).slice(0, messageMax);
  const place = error.stack?.match(/millrace-model:\/(\S+?:\d+:\d+)/)?.[1];
  const where = place === undefined ? '' : ` (${place})`;
  return `${error.name === 'Error' ? '' : `${error.name}: `}${error.message}`.slice(0, messageMax) + where;
}
