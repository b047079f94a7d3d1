import { definitions, ingestion, registry } from '@millrace/contracts';
import {
  compileMapping,
  type InputObject,
  inferSchema,
  openRows,
  type RowEvent,
  type RowFormat,
} from '@millrace/inputs';
import { MeshError } from '@millrace/kernel';
import { operationProblem } from '@millrace/sources';
import Table from 'cli-table3';
import { type CommonOptions, printJson, type Services } from './context.ts';
import { locateHere, withLocal } from './local-inputs.ts';
import { type FormatOptions, rowFormatOf } from './row-format.ts';

export interface DryRunTask {
  readonly source: string;
  readonly location: string;
  readonly options: CommonOptions & FormatOptions & { readonly rows: number };
  readonly signal: AbortSignal;
}

interface BadRow {
  readonly row: number;
  readonly reason: string;
  readonly field: string;
  readonly message: string;
}

const badRowsShown = 20;

/** Reads the first rows of a location's first input, asks ingestion what it would say to them, and publishes nothing. */
export async function dryRun(services: Services, task: DryRunTask): Promise<void> {
  const { source, location, options, signal } = task;
  const inputs = await locateHere(location, signal);
  const [input] = inputs as [InputObject];
  const format = rowFormatOf(options);
  const result = await withLocal(input, signal, async ({ path, sha256 }) => {
    const schema = await inferSchema(await openRows(path, format, input.name), options.rows);
    const spec = await specOf(services, source);
    const reader = await openRows(path, format, input.name);
    const mapping = compileMapping(source, spec, format, reader.columns);
    const checked = { rows: 0, valid: 0, duplicates: 0, bad: [] as BadRow[], badRows: 0 };
    for await (const { rows } of reader.chunks()) {
      const some = rows.slice(0, options.rows - checked.rows);
      const events = some
        .filter(({ t }) => t === 'row')
        .map((row) => ({ row, event: mapping.toEvent(row, sha256.slice(0, 16)) }));
      const readable = events.filter(({ event }) => operationProblem(event.operation) === undefined);
      const answer = await check(
        services,
        source,
        readable.map(({ event }) => event),
      );
      const bad: BadRow[] = some.flatMap((row) =>
        row.t === 'bad' ? [{ row: row.number, reason: 'MALFORMED_PAYLOAD', field: '', message: row.message }] : [],
      );
      for (const { row, event } of events) {
        const message = operationProblem(event.operation);
        if (message !== undefined) bad.push({ row: row.number, reason: 'INVALID_ARGUMENT', field: '', message });
      }
      for (const { index, reason, field, message } of answer.rejections)
        bad.push({ row: readable[index]?.row.number ?? 0, reason, field, message });
      checked.rows += some.length;
      checked.valid += answer.valid;
      checked.duplicates += answer.duplicates;
      checked.badRows += bad.length;
      checked.bad.push(...bad.slice(0, badRowsShown - checked.bad.length));
      if (checked.rows >= options.rows) break;
    }
    return { schema, ...checked };
  });
  if (result.badRows > 0) process.exitCode = 1;
  if (options.json) return printJson({ input: input.uri, inputs: inputs.length, ...result });
  print(input, inputs.length, result, format);
}

async function check(services: Services, source: string, events: readonly RowEvent[]) {
  if (events.length === 0) return { valid: 0, duplicates: 0, rejections: [] as ingestion.Rejection[] };
  const sent = events.map(({ id, eventTimeUs, json, operation }) => ({
    id,
    eventTimeUs: BigInt(eventTimeUs),
    json: Buffer.from(json),
    ...(operation === 'delete' ? { operation: ingestion.Operation.DELETE } : {}),
  }));
  return services.loads().checkEvents({ source, events: sent });
}

async function specOf(services: Services, source: string): Promise<definitions.Source> {
  const kind = registry.DefinitionKind.SOURCE;
  try {
    const { registered } = await services.registry().getDefinition({ kind, name: source, version: '' });
    if (registered?.definition?.spec?.$case === 'source') return registered.definition.spec.value;
  } catch (thrown) {
    if (!(thrown instanceof MeshError) || thrown.reason !== 'UNKNOWN_DEFINITION') throw thrown;
  }
  throw new MeshError(
    'UNKNOWN_SOURCE',
    `source "${source}" is not registered; write its definition with: millrace infer <file> --name ${source} > ${source}.yaml, then: millrace apply ${source}.yaml`,
    { source },
  );
}

function print(
  input: InputObject,
  inputs: number,
  result: {
    schema: Awaited<ReturnType<typeof inferSchema>>;
    rows: number;
    valid: number;
    duplicates: number;
    bad: readonly BadRow[];
    badRows: number;
  },
  format: RowFormat,
): void {
  const table = new Table({
    head: ['column', 'type', 'nulls', 'distinct', 'examples'],
    style: { head: [], border: [] },
  });
  for (const { column, type, nulls, distinct, examples } of result.schema.columns)
    table.push([column, typeName(type), String(nulls), String(distinct), examples.slice(0, 3).join(', ').slice(0, 40)]);
  const others = inputs > 1 ? ` (the first of ${inputs} inputs)` : '';
  process.stdout.write(`${input.uri}${others}\n${table.toString()}\n`);
  if (
    result.schema.timeFormat !== format.timeFormat ||
    result.schema.nullValues.some((text) => !format.nullValues.includes(text))
  )
    process.stdout.write(`${hints(result.schema)}\n`);
  process.stdout.write(
    `${result.rows} rows looked at: ${result.valid} valid, ${result.duplicates} accepted before, ${result.badRows} would go to quarantine; nothing was published\n`,
  );
  for (const { row, reason, message } of result.bad) process.stdout.write(`  row ${row}: ${reason}: ${message}\n`);
  if (result.badRows > result.bad.length) process.stdout.write(`  and ${result.badRows - result.bad.length} more\n`);
}

function hints({ timeFormat, nullValues }: Awaited<ReturnType<typeof inferSchema>>): string {
  const names = Object.entries(definitions.TimeFormat);
  const time =
    timeFormat === 0
      ? ''
      : `times look like ${names
          .find(([, value]) => value === timeFormat)?.[0]
          ?.toLowerCase()
          .replace('_', '-')} (--time-format)`;
  const nulls =
    nullValues.length === 0
      ? ''
      : `${nullValues.map((text) => JSON.stringify(text)).join(', ')} looks like null (--null)`;
  return [time, nulls].filter((text) => text !== '').join('; ');
}

function typeName(type: definitions.FieldType): string {
  return Object.entries(definitions.FieldType).find(([, value]) => value === type)?.[0] ?? '?';
}
