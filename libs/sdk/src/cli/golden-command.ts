import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import { exactJsonText, MeshError, parseExactJson } from '@millrace/kernel';
import type { Command } from 'commander';
import { type CommonOptions, openServices, printJson, reportError } from './context.ts';

interface GoldenOptions extends CommonOptions {
  readonly requests: string;
  readonly out: string;
  readonly modelVersion: string;
  readonly atol?: number;
  readonly rtol?: number;
}

interface TensorSpec {
  readonly name: string;
  readonly datatype: string;
}

type Json = Readonly<Record<string, unknown>>;

/** `millrace model golden`: what a version answers now, as what versions after it must answer before they serve. */
export function addGoldenCommand(model: Command): void {
  model
    .command('golden')
    .description('records what a model answers, as the golden file that its next versions are checked with')
    .argument('<model>', 'one that is served; <model>@<alias> too')
    .requiredOption(
      '--requests <file>',
      'lines of JSON: requests of OIP over REST ({"inputs": [...]}), or rows {"<input>": [values of a row]}',
    )
    .requiredOption('--out <file>', 'the golden file; put it beside the model, where the definition names it')
    .option('--model-version <version>', 'the one that is served unless given', '')
    .option('--atol <n>', 'how far a value may be from what is recorded; floats 1e-5 unless given', tolerance)
    .option('--rtol <n>', 'the same as a share of the value; floats 1e-4 unless given', tolerance)
    .action((name: string, _options, self: Command) => record(name, self.optsWithGlobals()));
}

function tolerance(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && value >= 0) return value;
  throw new MeshError('INVALID_ARGUMENT', `"${text}" is no tolerance; give a number from 0`, { given: text });
}

async function record(name: string, options: GoldenOptions): Promise<void> {
  const services = openServices(options);
  try {
    const address = services.endpoints().services['model-inference']?.http;
    if (!address)
      throw new MeshError(
        'SERVICE_UNAVAILABLE',
        'the endpoints file names no service "model-inference"; is it running?',
      );
    const version = options.modelVersion === '' ? '' : `/versions/${encodeURIComponent(options.modelVersion)}`;
    const url = `http://${address}/v2/models/${encodeURIComponent(name)}${version}`;
    const timeoutMs = options.timeout * 1000;
    const metadata = await ask(url, undefined, timeoutMs);
    const lines: string[] = [];
    let answeredBy = '';
    for await (const request of readRequests(options.requests, metadata.inputs as readonly TensorSpec[])) {
      const { model_version: by, outputs } = await ask(`${url}/infer`, exactJsonText(request), timeoutMs);
      if (answeredBy !== '' && by !== answeredBy)
        throw new MeshError(
          'CONCURRENT_CHANGE',
          `model "${name}" was swapped from version ${answeredBy} to ${by} meanwhile; record again, or name one with --model-version`,
          { model: name },
        );
      answeredBy = String(by);
      lines.push(exactJsonText({ ...request, ...parametersOf(request, options), outputs }));
    }
    if (lines.length === 0)
      throw new MeshError('INVALID_ARGUMENT', `"${options.requests}" has no request`, { path: options.requests });
    const text = `${lines.join('\n')}\n`;
    await writeFile(options.out, text);
    show(name, { requests: lines.length, version: answeredBy, text }, options);
  } catch (thrown) {
    reportError(thrown, options);
  } finally {
    services.close();
  }
}

function show(
  model: string,
  { requests, version, text }: { readonly requests: number; readonly version: string; readonly text: string },
  { out, json }: GoldenOptions,
): void {
  const sha256 = createHash('sha256').update(text).digest('hex');
  const uri = basename(out);
  if (json) {
    printJson({ model, version, requests, path: out, golden: { uri, sha256 } });
    return;
  }
  process.stdout.write(
    `${requests} requests, answered by ${model}@${version}: ${out}\nin its definition, with the file in the model repository:\n  golden: {uri: ${uri}, sha256: ${sha256}}\n`,
  );
}

/** Beside what the request says itself; the file's reader takes them for all its outputs. */
function parametersOf(request: Json, { atol, rtol }: GoldenOptions): Json {
  const given = { ...(atol === undefined ? {} : { atol }), ...(rtol === undefined ? {} : { rtol }) };
  const own = typeof request.parameters === 'object' && request.parameters !== null ? request.parameters : {};
  const parameters = { ...own, ...given };
  return Object.keys(parameters).length === 0 ? {} : { parameters };
}

async function ask(url: string, body: string | undefined, timeoutMs: number): Promise<Json> {
  const signal = AbortSignal.timeout(timeoutMs);
  const how = body === undefined ? {} : { method: 'POST', headers: { 'content-type': 'application/json' }, body };
  let response: Response;
  try {
    response = await fetch(url, { ...how, signal });
  } catch (cause) {
    throw new MeshError('SERVICE_UNAVAILABLE', `${url} does not answer: ${String(cause)}`, { url }, { cause });
  }
  const text = await response.text();
  if (!response.ok) throw new MeshError('INVALID_ARGUMENT', errorOf(text), { url, status: response.status });
  return parseExactJson(text) as Json;
}

function errorOf(text: string): string {
  try {
    return String((JSON.parse(text) as { error?: unknown }).error ?? text);
  } catch {
    return text;
  }
}

async function* readRequests(path: string, specs: readonly TensorSpec[]): AsyncGenerator<Json> {
  let number = 0;
  const bad = (what: string, cause?: unknown) =>
    new MeshError('INVALID_ARGUMENT', `line ${number} of "${path}" ${what}`, { path, line: number }, { cause });
  try {
    for await (const text of createInterface({ input: createReadStream(path) })) {
      number++;
      if (text.trim() === '') continue;
      const given = parseLine(text, bad);
      yield Array.isArray(given.inputs) ? requestOf(given) : { inputs: specs.map((spec) => rowOf(given, spec, bad)) };
    }
  } catch (error) {
    if (error instanceof MeshError) throw error;
    throw new MeshError('INVALID_ARGUMENT', `"${path}" cannot be read: ${String(error)}`, { path }, { cause: error });
  }
}

function parseLine(text: string, bad: (what: string, cause?: unknown) => MeshError): Json {
  let value: unknown;
  try {
    value = parseExactJson(text);
  } catch (cause) {
    throw bad('is not JSON', cause);
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json;
  throw bad('is not an object');
}

/** A golden file is recorded again: of its outputs the names are asked for. */
function requestOf(given: Json): Json {
  if (!Array.isArray(given.outputs)) return given;
  return { ...given, outputs: given.outputs.map(({ name }: { readonly name: string }) => ({ name })) };
}

function rowOf(given: Json, { name, datatype }: TensorSpec, bad: (what: string) => MeshError): Json {
  const value = given[name];
  if (value === undefined) throw bad(`has no input "${name}"; it has: ${Object.keys(given).join(', ') || 'nothing'}`);
  const values = Array.isArray(value) ? value : [value];
  return { name, datatype, shape: [1, ...shapeOf(values)], data: values.flat(Number.POSITIVE_INFINITY) };
}

function shapeOf(value: unknown): number[] {
  return Array.isArray(value) ? [value.length, ...shapeOf(value[0])] : [];
}
