import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { type definitions, loads } from '@millrace/contracts';
import { type InputObject, isLocal } from '@millrace/inputs';
import { MeshError } from '@millrace/kernel';
import { type CommonOptions, type LoadClient, printJson, withServices } from './context.ts';
import { dryRun } from './load-dry-run.ts';
import { followLoad, loadLines } from './load-progress.ts';
import { locateHere, withLocal } from './local-inputs.ts';
import { type FormatOptions, rowFormatOf } from './row-format.ts';
import { uploadFile } from './upload.ts';

export interface LoadOptions extends CommonOptions, FormatOptions {
  readonly dryRun?: boolean;
  /** Rows that a dry run looks at. */
  readonly rows: number;
  /** The batch input of the source to read when no location is given. */
  readonly input?: string;
  readonly whenChanged?: keyof typeof whenChangedNames;
  /** False with --no-follow. */
  readonly follow: boolean;
}

export const whenChangedNames = { 'new-rows': 1, 'read-again': 2, ignore: 3 } as const satisfies Record<
  string,
  definitions.WhenChanged
>;

/** Loads a location, or what is new in a batch input, into a source: ingestion reads it where it can see it, else the command sends the bytes. */
export async function load(source: string, location: string | undefined, options: LoadOptions): Promise<void> {
  await withServices(options, async (services) => {
    const interrupt = new AbortController();
    process.once('SIGINT', () => interrupt.abort());
    if (options.dryRun) {
      if (location === undefined) throw new MeshError('INVALID_ARGUMENT', 'a dry run needs a location', {});
      return dryRun(services, { source, location, options, signal: interrupt.signal });
    }
    const client = services.loads();
    const whenChanged = options.whenChanged === undefined ? 0 : whenChangedNames[options.whenChanged];
    const request = loads.StartLoadRequest.fromPartial({
      source,
      location: location ?? '',
      batchInput: options.input ?? '',
      format: rowFormatOf(options),
      whenChanged,
    });
    const seen: loads.Load[] = [];
    for await (const started of begin(client, request, interrupt.signal))
      seen.push(
        options.follow ? await followLoad(client, started, { ...options, interrupt: interrupt.signal }) : started,
      );
    report(seen, options);
  });
}

/** A local file is looked for where ingestion runs: one of the same name and size need not be sent. */
async function* begin(
  client: LoadClient,
  request: loads.StartLoadRequest,
  signal: AbortSignal,
): AsyncGenerator<loads.Load> {
  const { location } = request;
  if (location === '' || !isLocal(location)) return yield loadOf(await client.startLoad(request));
  const path = resolve(location.replace(/^file:\/\//, ''));
  const inputs = await locateHere(path, signal);
  const visible = await startVisible(client, { ...request, location: path, bytes: sizeOf(inputs) });
  if (visible !== undefined) return yield visible;
  for (const input of inputs) yield await startUploaded(client, request, input, signal);
}

function sizeOf(inputs: readonly InputObject[]): bigint {
  return BigInt(inputs.reduce((sum, { bytes }) => sum + bytes, 0));
}

/** Undefined when ingestion does not see the same. */
async function startVisible(client: LoadClient, request: loads.StartLoadRequest): Promise<loads.Load | undefined> {
  try {
    return loadOf(await client.startLoad(request));
  } catch (thrown) {
    if (thrown instanceof MeshError && thrown.reason === 'INPUT_NOT_FOUND') return undefined;
    throw thrown;
  }
}

async function startUploaded(
  client: LoadClient,
  request: loads.StartLoadRequest,
  input: InputObject,
  signal: AbortSignal,
): Promise<loads.Load> {
  const uploadId = await withLocal(input, signal, ({ path }) => uploadFile(client, path, signal));
  // the machine's name keeps files of one path on two machines apart in the ledger
  const location = input.uri.replace(/^file:\/\//, `upload://${hostname()}`);
  return loadOf(await client.startLoad({ ...request, location, uploadId }));
}

function loadOf({ load: found }: { readonly load?: loads.Load | undefined }): loads.Load {
  if (found === undefined) throw new MeshError('INTERNAL', 'ingestion answered without a load', {});
  return found;
}

function report(list: readonly loads.Load[], options: LoadOptions): void {
  const { FAILED, CANCELLED, HELD } = loads.LoadState;
  if (list.some(({ state, rejected }) => state === FAILED || state === CANCELLED || state === HELD || rejected > 0n))
    process.exitCode = 1;
  if (options.json) printJson(list.length === 1 ? list[0] : list);
  else for (const one of list) process.stdout.write(`${loadLines(one).join('\n')}\n`);
}
