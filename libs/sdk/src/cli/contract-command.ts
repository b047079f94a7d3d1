import { readFileSync, writeFileSync } from 'node:fs';
import { MeshError } from '@millrace/kernel';
import type { Command } from 'commander';
import { importContract } from '../odcs/import-contract.ts';
import { type CommonOptions, printJson, reportError } from './context.ts';

export function addContractCommand(program: Command): void {
  program
    .command('contract')
    .description('data contracts')
    .command('import')
    .description('an ODCS v3 data contract as source definitions with expectations; says what of it was not mapped')
    .argument('<file>', 'the contract, YAML')
    .option('--out <file>', 'where to write the definitions; standard output unless given')
    .action((file: string, _options, command: Command) => importFile(file, command.optsWithGlobals()));
}

function importFile(file: string, options: CommonOptions & { readonly out?: string }): void {
  try {
    const { yaml, sources, notMapped } = importContract(readContract(file), file);
    if (options.out !== undefined) writeFileSync(options.out, yaml);
    if (options.json) {
      printJson({ yaml, sources, notMapped });
      return;
    }
    if (options.out === undefined) process.stdout.write(yaml);
    for (const { path, what } of notMapped) process.stderr.write(`not mapped: ${path}: ${what}\n`);
    if (options.out !== undefined)
      process.stdout.write(`wrote ${sources.join(', ')}; next: millrace plan ${options.out}\n`);
  } catch (thrown) {
    reportError(thrown, options);
  }
}

function readContract(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new MeshError('INVALID_ARGUMENT', `no contract "${file}": ${(cause as Error).message}`, { file }, { cause });
  }
}
