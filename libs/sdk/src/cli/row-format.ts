import { definitions } from '@millrace/contracts';
import { formats, timeFormatNames } from '@millrace/inputs';
import { MeshError } from '@millrace/kernel';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { parseTimeUs } from './rows.ts';

/** How rows become events, as options of a command. */
export interface FormatOptions {
  readonly format?: string;
  readonly map?: readonly string[];
  readonly id?: readonly string[];
  readonly time?: string;
  readonly at?: string;
  readonly operation?: string;
  readonly timeFormat?: keyof typeof timeFormatNames;
  readonly null?: readonly string[];
  readonly delimiter?: string;
  readonly encoding?: string;
}

/** Options that say how a file is written. */
export function addFileOptions(command: Command): Command {
  return command
    .addOption(new Option('--format <format>', 'the format; told by the name unless given').choices([...formats]))
    .option('--delimiter <character>', 'what separates CSV columns; found in the header unless given', delimiter)
    .addOption(new Option('--encoding <name>', 'of CSV and NDJSON').choices(['utf8', 'latin1']));
}

/** Options that say what the columns are to the source. */
export function addMappingOptions(command: Command): Command {
  return command
    .option(
      '--map <column=field...>',
      'the field that a column fills, where the names differ by more than case and punctuation; "column=" drops it',
    )
    .option(
      '--id <column...>',
      "columns that make the event id; the content's digest and the row's number unless given",
    )
    .option('--time <column>', 'the column with the event time, where the source names no event-time field')
    .option('--at <time>', 'the event time of rows that have none, RFC 3339 or microseconds')
    .option('--operation <column>', 'the column that says what a row is: insert, update or delete, or c, r, u or d')
    .addOption(
      new Option(
        '--time-format <name>',
        'how times are written; ISO 8601 (UTC without a zone) or microseconds unless given',
      ).choices(Object.keys(timeFormatNames)),
    )
    .option('--null <text...>', 'texts that stand for null beside the empty one');
}

export function rowFormatOf(options: FormatOptions): definitions.RowFormat {
  return {
    format: options.format ?? '',
    columns: new Map((options.map ?? []).map(pairOf)),
    idColumns: [...(options.id ?? [])],
    timeColumn: options.time ?? '',
    timeFormat:
      options.timeFormat === undefined ? definitions.TimeFormat.UNSPECIFIED : timeFormatNames[options.timeFormat],
    nullValues: [...(options.null ?? [])],
    delimiter: options.delimiter ?? '',
    encoding: options.encoding ?? '',
    operationColumn: options.operation ?? '',
    rowTimeUs: options.at === undefined ? 0n : parseTimeUs(options.at),
  };
}

function pairOf(pair: string): [string, string] {
  const at = pair.lastIndexOf('=');
  if (at < 1)
    throw new MeshError('INVALID_ARGUMENT', `"${pair}" maps nothing; write --map column=field, or column= to drop it`, {
      pair,
    });
  return [pair.slice(0, at), pair.slice(at + 1)];
}

function delimiter(text: string): string {
  const character = text === '\\t' || text === 'tab' ? '\t' : text;
  if (character.length !== 1) throw new InvalidArgumentError('write one character, as ";" or tab');
  return character;
}
