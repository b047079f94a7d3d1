import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { type ingestion, serving } from '@millrace/contracts';
import { MeshError, newId } from '@millrace/kernel';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { type CommonOptions, printJson, type Services, withServices } from './context.ts';
import { keyColumns, parseTimeUs } from './rows.ts';

export function addDataCommands(program: Command): void {
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
    .option('--batch <n>', 'events a request', '500')
    .action((source: string, file: string | undefined, _options, command: Command) =>
      publish(source, file, command.optsWithGlobals()),
    );
  program
    .command('get')
    .description('read features: millrace get flight_delay origin=ATL destination=FLL hour=8')
    .argument('<feature-service>')
    .argument('<keys...>', 'join keys as name=value; several rows as name=a,b,c')
    .option('--as-of <time>', 'the read time, RFC 3339 or microseconds; now unless given')
    .option('--allow-history', 'read what lies before a row from history')
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
    .option('--allow-history', 'read what lies before a row from history')
    .action((deployment: string, keys: string[], _options, command: Command) =>
      predict(deployment, keys, command.optsWithGlobals()),
    );
}

interface PublishOptions extends CommonOptions {
  readonly idField?: string;
  readonly timeField?: string;
  readonly batch?: string;
}

async function publish(source: string, file: string | undefined, options: PublishOptions): Promise<void> {
  await withServices(options, async (services) => {
    const client = services.ingestion();
    const total = { accepted: 0, duplicates: 0, rejections: [] as ingestion.Rejection[] };
    let batch: ingestion.Event[] = [];
    const flush = async () => {
      if (batch.length === 0) return;
      const response = await client.publish({ source, events: batch });
      batch = [];
      total.accepted += response.accepted;
      total.duplicates += response.duplicates;
      total.rejections.push(...response.rejections);
      if (!options.json && process.stderr.isTTY)
        process.stderr.write(`\r${total.accepted} accepted, ${total.rejections.length} rejected `);
    };
    let line = 0;
    for await (const text of createInterface({ input: file === undefined ? process.stdin : createReadStream(file) })) {
      line++;
      if (text.trim() === '') continue;
      batch.push(toEvent(text, line, options));
      if (batch.length >= Number(options.batch ?? 500)) await flush();
    }
    await flush();
    if (options.json) return printJson(total);
    process.stdout.write(
      `${total.accepted} accepted, ${total.duplicates} duplicates, ${total.rejections.length} rejected\n`,
    );
    for (const rejection of total.rejections.slice(0, 20))
      process.stdout.write(`  ${rejection.eventId}: ${rejection.reason}: ${rejection.message}\n`);
    if (total.rejections.length > 20)
      process.stdout.write(`  and ${total.rejections.length - 20} more, in quarantine\n`);
  });
}

function toEvent(text: string, line: number, options: PublishOptions): ingestion.Event {
  if (options.idField === undefined && options.timeField === undefined) {
    return { id: newId(), eventTimeUs: BigInt(Date.now()) * 1000n, json: Buffer.from(text) };
  }
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(text) as Record<string, unknown>;
  } catch (cause) {
    throw new MeshError('MALFORMED_PAYLOAD', `line ${line} is not a JSON object`, { line }, { cause });
  }
  const take = (name: string | undefined): unknown => {
    if (name === undefined) return undefined;
    const value = fields[name];
    if (value === undefined)
      throw new MeshError('MISSING_FIELD', `line ${line} has no field "${name}"`, { line, field: name });
    delete fields[name];
    return value;
  };
  const id = take(options.idField);
  const time = take(options.timeField);
  return {
    id: id === undefined ? newId() : String(id),
    eventTimeUs: time === undefined ? BigInt(Date.now()) * 1000n : parseTimeUs(String(time)),
    json: Buffer.from(JSON.stringify(fields)),
  };
}

interface ReadOptions extends CommonOptions {
  readonly asOf?: string;
  readonly allowHistory?: boolean;
  readonly data?: readonly string[];
}

const statusName = (status: number): string =>
  Object.entries(serving.ValueStatus).find(([, value]) => value === status)?.[0] ?? '?';

async function get(service: string, keys: readonly string[], options: ReadOptions): Promise<void> {
  await withServices(options, async (services) => {
    const response = await services.features().getFeatures({
      featureService: service,
      version: '',
      keys: await keyColumns(services, keys),
      asOfUs: options.asOf === undefined ? 0n : parseTimeUs(options.asOf),
      asOfUsByRow: [],
      allowPartial: false,
      allowHistory: options.allowHistory ?? false,
      omitMetadata: false,
    });
    const rows = rowsOf(response);
    if (options.json) return printJson({ version: response.version, rows });
    for (const row of rows) {
      const table = new Table({ head: ['feature', 'value', 'status'], style: { head: [], border: [] } });
      for (const [name, { value, status }] of Object.entries(row))
        table.push([name, value === null ? '' : String(value), status]);
      process.stdout.write(`${table.toString()}\n`);
    }
  });
}

/** The matrix as one object a row. */
function rowsOf(response: serving.GetFeaturesResponse): Record<string, { value: unknown; status: string }>[] {
  const { features, statuses } = response;
  const width = [0, 0, 0, 0];
  for (const column of features) width[column.block] = (width[column.block] ?? 0) + 1;
  const count = features.length === 0 ? 0 : statuses.length / features.length;
  return Array.from({ length: count }, (_, row) =>
    Object.fromEntries(
      features.map((column, index) => {
        const status = statuses[row * features.length + index] ?? 0;
        const at = row * (width[column.block] ?? 0) + column.column;
        const value =
          column.block === 1
            ? response.doubles[at]
            : column.block === 2
              ? response.int64s[at]
              : response.strings[column.column]?.values[row];
        const isNull =
          value === undefined ||
          (typeof value === 'number' && Number.isNaN(value)) ||
          status === serving.ValueStatus.NULL;
        return [
          column.name,
          { value: isNull ? null : column.type === 'BOOL' ? value === 1n : value, status: statusName(status) },
        ];
      }),
    ),
  );
}

async function predict(deployment: string, keys: readonly string[], options: ReadOptions): Promise<void> {
  await withServices(options, async (services: Services) => {
    const requestData = (options.data ?? []).map((pair) => {
      const [name = '', values = ''] = pair.split('=');
      return { name, doubles: values.split(',').map(Number) };
    });
    const response = await services.predictions().predict({
      deployment,
      keys: await keyColumns(services, keys),
      requestData,
      asOfUs: options.asOf === undefined ? 0n : parseTimeUs(options.asOf),
      asOfUsByRow: [],
      predictionKeys: [],
      allowHistory: options.allowHistory ?? false,
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
          String(response.vectors[row * columns + index]),
          statusName(response.statuses[row * columns + index] ?? 0),
          ageUs < 0 ? '' : `${(ageUs / 1e6).toFixed(1)} s`,
        ]);
      }
      process.stdout.write(`${table.toString()}\n`);
    }
  });
}
