import { MeshError } from '@millrace/kernel';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, positive, printJson, type Services, withServices } from './context.ts';
import { rowsOf, statusName } from './matrix-rows.ts';
import { publish } from './publish.ts';
import { requestColumns } from './request-data.ts';
import { keyColumns, parseTimeUs, rowsIn } from './rows.ts';
import { addSearchCommand } from './search-command.ts';

export function addDataCommands(program: Command): void {
  addSearchCommand(program);
  program
    .command('publish')
    .description("publish events: JSON lines from a file or standard input, each an object of the source's fields")
    .argument('<source>')
    .argument('[file]', 'a file of JSON lines; standard input unless given')
    .option(
      '--id-field <name>',
      'the field that holds the event id (taken out of the event); a new id each unless given',
    )
    .option(
      '--time-field <name>',
      'the field that holds the event time (taken out of the event), RFC 3339 or microseconds; now unless given',
    )
    .option(
      '--operation-field <name>',
      'the field that says what a line does (taken out of the event): insert, update or delete, or c, r, u or d; needs --id-field',
    )
    .option('--batch <n>', 'events a request', positive, 500)
    .action((source: string, file: string | undefined, _options, command: Command) =>
      publish(source, file, command.optsWithGlobals()),
    );
  program
    .command('get')
    .description('read features: millrace get flight_delay origin=ATL destination=FLL hour=8')
    .argument('<feature-service>')
    .argument('[keys...]', 'join keys as name=value; several rows as name=a,b,c')
    .option('--as-of <time>', 'the read time, RFC 3339 or microseconds; now unless given')
    .option('--no-history', 'say OUT_OF_ROW for a time before the row instead of asking history')
    .option('--data <name=value...>', 'request data for the fields that the feature service declares')
    .action((service: string, keys: string[], _options, command: Command) =>
      get(service, keys, command.optsWithGlobals()),
    );
  program
    .command('predict')
    .description('predict: millrace predict flight_delay origin=ATL destination=FLL hour=8 --data distance=581')
    .argument('<deployment>')
    .argument('<keys...>', 'join keys as name=value; several rows as name=a,b,c')
    .option('--data <name=value...>', 'request data')
    .option('--as-of <time>', 'the read time, RFC 3339 or microseconds; now unless given')
    .option('--no-history', 'say OUT_OF_ROW for a time before the row instead of asking history')
    .action((deployment: string, keys: string[], _options, command: Command) =>
      predict(deployment, keys, command.optsWithGlobals()),
    );
}

interface ReadOptions extends CommonOptions {
  readonly asOf?: string;
  /** False with --no-history. */
  readonly history: boolean;
  readonly data?: readonly string[];
}

async function get(service: string, keys: readonly string[], options: ReadOptions): Promise<void> {
  await withServices(options, async (services) => {
    const response = await services.features().getFeatures({
      featureService: service,
      version: '',
      keys: await keyColumns(services, keys),
      asOfUs: options.asOf === undefined ? 0n : parseTimeUs(options.asOf),
      asOfUsByRow: [],
      allowPartial: false,
      allowHistory: options.history,
      omitMetadata: false,
      requestData: await requestColumns(services, service, options.data ?? [], rowsIn(keys)),
    });
    const rows = rowsOf(response);
    if (options.json) return printJson({ version: response.version, rows });
    for (const row of rows) {
      const table = new Table({ head: ['feature', 'value', 'status'], style: { head: [], border: [] } });
      for (const [name, { value, status }] of Object.entries(row))
        table.push([name, value === null ? '' : Array.isArray(value) ? value.join(', ') : String(value), status]);
      process.stdout.write(`${table.toString()}\n`);
    }
  });
}

async function predict(deployment: string, keys: readonly string[], options: ReadOptions): Promise<void> {
  await withServices(options, async (services: Services) => {
    const requestData = predictData(options.data ?? []);
    const response = await services.predictions().predict({
      deployment,
      keys: await keyColumns(services, keys),
      requestData,
      asOfUs: options.asOf === undefined ? 0n : parseTimeUs(options.asOf),
      asOfUsByRow: [],
      predictionKeys: [],
      allowHistory: options.history,
      omitExplanation: false,
    });
    if (options.json) return printJson({ ...response, statuses: [...response.statuses].map(statusName) });
    const columns = response.vectorNames.length;
    for (const [row, prediction] of response.predictions.entries()) {
      process.stdout.write(
        `score ${prediction.score}  model ${prediction.model}@${prediction.modelVersion}  prediction ${prediction.predictionId}\n`,
      );
      const table = new Table({ head: ['input', 'value', 'status', 'age'], style: { head: [], border: [] } });
      for (const [index, name] of response.vectorNames.entries()) {
        const ageUs = Number(response.agesUs[row * columns + index] ?? -1n);
        table.push([
          name,
          numberText(response.vectors[row * columns + index]),
          statusName(response.statuses[row * columns + index] ?? 0),
          ageUs < 0 ? '' : `${(ageUs / 1e6).toFixed(1)} s`,
        ]);
      }
      process.stdout.write(`${table.toString()}\n`);
    }
  });
}

/** `['distance=581,733']` → the numbers that a model takes beside features. */
export function predictData(pairs: readonly string[]): { name: string; doubles: number[] }[] {
  return pairs.map((pair) => {
    const [name = '', values = ''] = pair.split('=');
    return { name, doubles: values.split(',').map((value) => toNumber(name, value)) };
  });
}

function toNumber(name: string, text: string): number {
  const value = Number(text);
  if (text.trim() === '' || Number.isNaN(value))
    throw new MeshError(
      'WRONG_TYPE',
      `request data "${name}" takes numbers and "${text}" is none; write --data ${name}=1.5`,
      { field: name, value: text },
    );
  return value;
}

/** Empty for null, which a vector holds as NaN. */
function numberText(value: number | undefined): string {
  return value === undefined || Number.isNaN(value) ? '' : String(value);
}
