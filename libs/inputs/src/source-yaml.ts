import { definitions } from '@millrace/contracts';
import { stringify } from 'yaml';
import type { InferredSchema } from './infer.ts';

/** A source definition, ready to apply, with what was not sure as comments. */
export function sourceYaml(name: string, schema: InferredSchema, file: string): string {
  const { columns, eventTimes, keys, ids } = schema;
  const fieldOf = new Map(columns.map(({ column, field }) => [column, field]));
  const eventTime = eventTimes[0];
  const key = keys[0];
  const fields = Object.fromEntries(
    columns.map(({ column, field, type, nullable }) => {
      const typeName = nameOf(type);
      return [field, nullable && column !== eventTime ? { type: typeName, nullable: true } : typeName];
    }),
  );
  const document = {
    kind: 'source',
    name,
    description: `Rows of ${file}`,
    ...(eventTime === undefined ? {} : { event_time: fieldOf.get(eventTime) }),
    ...(key === undefined ? {} : { key: fieldOf.get(key) }),
    fields,
  };
  const scanned = `${schema.rows} rows${schema.complete ? '' : ' (the first; there are more)'}`;
  const lines = [
    `# inferred from ${scanned} of ${file}`,
    ...(schema.badRows > 0 ? [`# ${schema.badRows} rows could not be read and will go to quarantine`] : []),
    ...(schema.timesOutside > 0
      ? [`# ${schema.timesOutside} rows happened before 1970 or in the future and will go to quarantine`]
      : []),
    eventTime === undefined
      ? '# no column is a time in every row: name one with --time <column>, or one time for all rows with --at <time>'
      : `# event time: ${eventTimes.join(', ')}`,
    `# key: ${keys.slice(0, 5).join(', ') || 'none found'}`,
    ...(ids.length > 0 ? [`# unique in every row: ${ids.join(', ')} (load with --id "${ids[0]}")`] : []),
    `# then: ${loadCommand(name, schema, file)}`,
  ];
  return `${lines.join('\n')}\n${stringify(document, { lineWidth: 0 })}`;
}

/** The command that loads the file with the options that its columns need. */
export function loadCommand(name: string, schema: InferredSchema, file: string): string {
  const options = [
    ...schema.nullValues.map((text) => `--null ${quoted(text)}`),
    ...(schema.timeFormat === 0 ? [] : [`--time-format ${timeFormatName(schema.timeFormat)}`]),
    ...(schema.eventTimes.length === 0 ? ['--at <time>'] : []),
  ];
  return ['millrace load', name, quoted(file), ...options].join(' ');
}

export const timeFormatNames = {
  seconds: definitions.TimeFormat.SECONDS,
  milliseconds: definitions.TimeFormat.MILLISECONDS,
  'month-first': definitions.TimeFormat.MONTH_FIRST,
  'day-first': definitions.TimeFormat.DAY_FIRST,
} as const;

function timeFormatName(format: definitions.TimeFormat): string {
  return Object.entries(timeFormatNames).find(([, value]) => value === format)?.[0] ?? '';
}

function nameOf(type: definitions.FieldType): string {
  return Object.entries(definitions.FieldType).find(([, value]) => value === type)?.[0] ?? 'STRING';
}

function quoted(text: string): string {
  return /^[\w./:=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
