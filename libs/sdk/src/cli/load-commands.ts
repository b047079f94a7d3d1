import type { Command } from 'commander';
import { positive } from './context.ts';
import { infer } from './infer.ts';
import { addFileOptions } from './row-format.ts';

export function addLoadCommands(program: Command): void {
  addFileOptions(
    program
      .command('infer')
      .description('print a source definition for a file, ready to apply: CSV, NDJSON, JSON, Parquet or Arrow')
      .argument('<location>', 'a file, an http(s) URL or s3://bucket/key')
      .option('--name <source>', "the source's name; the file's unless given")
      .option('--rows <n>', 'rows to look at', positive, 100_000),
  ).action((location: string, _options, command: Command) => infer(location, command.optsWithGlobals()));
}
