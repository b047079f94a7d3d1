import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { type definitions, type oip, registry } from '@millrace/contracts';
import { openRows } from '@millrace/inputs';
import { MeshError } from '@millrace/kernel';
import { createProfiler, type ModelProfile } from '@millrace/stats';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, printJson, type Services, withServices } from './context.ts';
import { locateHere, withLocal } from './local-inputs.ts';
import { progressLine } from './progress-line.ts';
import { addFileOptions, type FormatOptions, rowFormatOf } from './row-format.ts';

interface ProfileOptions extends CommonOptions, FormatOptions {
  readonly data: string;
  readonly out: string;
  readonly scores: boolean;
}

/** `millrace model profile` */
export function addProfileCommand(model: Command): void {
  addFileOptions(
    model
      .command('profile <model>')
      .description(
        'write how the columns of a registered model were spread in its training data, and what it says to them: drift is watched against that',
      )
      .requiredOption(
        '--data <location>',
        'the training data, with a column for each of the model’s vector: CSV, Parquet, Arrow, NDJSON, JSON, Avro',
      )
      .requiredOption(
        '--out <file>',
        'where the profile goes; put it into the model repository and name it in the definition',
      )
      .option('--no-scores', 'do not ask the served model for its scores'),
  ).action((name: string, _options, self: Command) => profile(name, self.optsWithGlobals()));
}

function profile(model: string, options: ProfileOptions): Promise<void> {
  return withServices(options, async (services) => {
    const spec = await specOf(services, model);
    const made = await profileOf(services, model, spec, options);
    const text = `${JSON.stringify(made, null, 1)}\n`;
    await writeFile(options.out, text);
    const sha256 = createHash('sha256').update(text).digest('hex');
    if (options.json) return printJson({ out: options.out, sha256, rows: made.rows, columns: made.columns.length });
    printProfile(made);
    process.stdout.write(
      `${options.out}; in the definition of "${model}": profile: { uri: <its place>, sha256: ${sha256} }\n`,
    );
  });
}

async function specOf(services: Services, name: string): Promise<definitions.Model> {
  const { registered } = await services
    .registry()
    .getDefinition({ kind: registry.DefinitionKind.MODEL, name, version: '' });
  const spec = registered?.definition?.spec;
  if (spec?.$case !== 'model')
    throw new MeshError('UNKNOWN_MODEL', `there is no model "${name}"; apply its definition first`, { model: name });
  if (spec.value.inputColumns.length === 0)
    throw new MeshError('INVALID_ARGUMENT', `model "${name}" has no input columns, so it has no vector to profile`, {
      model: name,
    });
  return spec.value;
}

async function profileOf(
  services: Services,
  model: string,
  spec: definitions.Model,
  options: ProfileOptions,
): Promise<ModelProfile> {
  const names = spec.inputColumns.map(({ source }) => source?.value ?? '');
  const profiler = createProfiler(names);
  const signal = AbortSignal.timeout(86_400_000);
  const progress = progressLine();
  const inputs = await locateHere(options.data, signal);
  const score = options.scores ? await scorer(services, model, spec) : undefined;
  try {
    for (const input of inputs)
      await withLocal(input, signal, async ({ path }) => {
        const reader = await openRows(path, rowFormatOf(options), input.name);
        requireColumns(names, reader.columns, input.name);
        for await (const { rows } of reader.chunks()) {
          const values = new Float64Array(rows.length * names.length);
          for (const [at, row] of rows.entries()) {
            if (row.t === 'bad')
              throw new MeshError('MALFORMED_PAYLOAD', `row ${row.number} of "${input.name}" ${row.message}`, {
                row: row.number,
              });
            for (const [column, name] of names.entries())
              values[at * names.length + column] = numberOf(
                row.fields[name],
                spec.inputColumns[column]?.fill,
                name,
                row.number,
              );
          }
          const scores = score ? await score(values, rows.length) : undefined;
          for (let at = 0; at < rows.length; at++)
            profiler.add(values.subarray(at * names.length, (at + 1) * names.length), scores?.[at] ?? Number.NaN);
          if (profiler.rows % 20_000 < rows.length) progress.show(0, 0, `${profiler.rows} rows of ${input.name}`);
        }
      });
  } finally {
    progress.end();
  }
  return profiler.profile(model, new Date().toISOString());
}

function requireColumns(names: readonly string[], found: readonly string[] | undefined, title: string): void {
  const missing = found && names.filter((name) => !found.includes(name));
  if (missing && missing.length > 0)
    throw new MeshError(
      'INVALID_ARGUMENT',
      `"${title}" has no column ${missing.map((name) => `"${name}"`).join(', ')}; it has: ${found?.join(', ')}`,
      { columns: missing.join(',') },
    );
}

/** What a vector holds: a number, NaN for none, the column's fill in its place. */
function numberOf(value: unknown, fill: number | undefined, column: string, row: number): number {
  if (value === null || value === undefined || value === '') return fill ?? Number.NaN;
  const number = Number(value);
  if (Number.isNaN(number) && !(typeof value === 'number' || /^nan$/i.test(String(value))))
    throw new MeshError('WRONG_TYPE', `"${String(value)}" in column "${column}" of row ${row} is no number`, {
      column,
      row,
    });
  return Number.isNaN(number) ? (fill ?? Number.NaN) : number;
}

type Score = (values: Float64Array, rows: number) => Promise<number[]>;

/** Asks the served model, as a prediction would. */
async function scorer(services: Services, model: string, spec: definitions.Model): Promise<Score> {
  const client = services.oip();
  const { inputs } = await client.modelMetadata({ name: model, version: '' });
  const datatype = inputs.find(({ name }) => name === spec.inputName)?.datatype === 'FP64' ? 'FP64' : 'FP32';
  return async (values, rows) => {
    const raw = datatype === 'FP64' ? values : Float32Array.from(values);
    const answer = await client.modelInfer({
      modelName: model,
      modelVersion: '',
      id: '',
      parameters: new Map([['priority', { parameterChoice: { $case: 'int64Param', value: 3n } }]]),
      inputs: [
        {
          name: spec.inputName,
          datatype,
          shape: [BigInt(rows), BigInt(values.length / rows)],
          parameters: new Map(),
          contents: undefined,
        },
      ],
      outputs: [{ name: spec.outputName, parameters: new Map() }],
      rawInputContents: [Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength)],
    });
    return scoresOf(answer, spec.outputColumn, rows);
  };
}

function scoresOf({ outputs, rawOutputContents }: oip.ModelInferResponse, column: number, rows: number): number[] {
  const [output] = outputs;
  const bytes = rawOutputContents[0] ?? Buffer.alloc(0);
  const width = bytes.length / rows / (output?.datatype === 'FP64' ? 8 : 4);
  if (output?.datatype !== 'FP64' && output?.datatype !== 'FP32')
    throw new MeshError(
      'WRONG_TENSOR_TYPE',
      `the score is ${output?.datatype ?? 'missing'} and a profile takes FP32 or FP64; leave it out with --no-scores`,
    );
  return Array.from({ length: rows }, (_, row) =>
    output.datatype === 'FP64'
      ? bytes.readDoubleLE((row * width + column) * 8)
      : bytes.readFloatLE((row * width + column) * 4),
  );
}

function printProfile({ rows, keptRows, columns, score }: ModelProfile): void {
  const head = ['column', 'values', 'missing', 'mean', 'std', 'min', 'median', 'max', 'bins'];
  const table = new Table({ head, style: { head: [], border: [] } });
  for (const one of [...columns, ...(score ? [score] : [])])
    table.push([
      one.name,
      one.count,
      one.missing,
      ...[one.mean, one.std, one.min, one.percentiles[50] ?? Number.NaN, one.max].map((value) => value.toPrecision(5)),
      one.counts.length,
    ]);
  const sampled = keptRows < rows ? `, bins and percentiles of a sample of ${keptRows}` : '';
  process.stdout.write(`${rows} rows${sampled}\n${table.toString()}\n`);
}
