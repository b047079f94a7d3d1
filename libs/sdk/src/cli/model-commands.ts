import { normaliseOnnx } from '@millrace/onnx';
import Table from 'cli-table3';
import { type Command, Option } from 'commander';
import { addAliasCommands } from './alias-commands.ts';
import { type CommonOptions, positive, printJson, reportError } from './context.ts';
import { addDriftCommand } from './drift-command.ts';
import { addGoldenCommand } from './golden-command.ts';
import { addModelQualityCommand } from './model-quality-command.ts';
import { addProfileCommand } from './profile-command.ts';
import { forms, type QuantizeOptions, quantizeFile, readModelFile } from './quantize-file.ts';
import type { QuantizeReport } from './quantize-report.ts';

export function addModelCommands(program: Command): void {
  const command = program
    .command('model')
    .alias('models')
    .description(
      'names that point to model versions; look at model files and make them smaller; profile what they were trained on and watch drift',
    );
  addAliasCommands(command);
  addProfileCommand(command);
  addDriftCommand(command);
  addModelQualityCommand(command);
  addGoldenCommand(command);
  command
    .command('inspect')
    .description(
      'what an ONNX file says of itself, what is changed when it is served, and whether its requests may share a run',
    )
    .argument('<model.onnx>')
    .action((path: string, _options, self: Command) => inspect(path, self.optsWithGlobals()));
  command
    .command('quantize')
    .description(
      'write a smaller model when it answers sample rows as the original does; exit code 1, and nothing written, when not',
    )
    .argument('<model.onnx>')
    .addOption(
      new Option(
        '--form <form>',
        'rowwise: INT8 whose answers do not depend on the batch; ort: as onnxruntime; fp16: storage',
      )
        .choices(forms)
        .default('rowwise'),
    )
    .requiredOption(
      '--samples <file>',
      '512 rows or more as lines of JSON: {"<input>": [values of a row]} or requests of OIP',
    )
    .requiredOption('--out <file>', 'where the model goes; its report goes beside it (.quantization.json)')
    .option('--exclude <node...>', 'nodes that stay as they are')
    .option('--auto-exclude', 'rowwise: leave as they are the layers that cost most accuracy, until the rest passes')
    .option('--min-weights <n>', 'rowwise: layers with fewer weights stay as they are (32768)', positive)
    .option('--per-channel', 'ort: a scale for each column of a weight')
    .option(
      '--reduce-range',
      'weights of seven bits, for x86 without VNNI; rowwise does so by itself on such a processor',
    )
    .option('--no-reduce-range', 'weights of eight bits, for a processor other than this one')
    .action((path: string, _options, self: Command) => quantize(path, self.optsWithGlobals()));
}

async function inspect(path: string, options: CommonOptions): Promise<void> {
  try {
    const { facts } = normaliseOnnx(await readModelFile(path));
    if (options.json) return printJson(facts);
    const table = new Table();
    const opsets = Object.entries(facts.opsets).map(([domain, version]) => `${domain} ${version}`);
    table.push(
      ['producer', `${facts.producer || 'unknown'} ${facts.producerVersion}`.trim()],
      ['IR version', String(facts.irVersion)],
      ['opsets', opsets.join(', ')],
      ['changed when served', facts.changes.join('\n') || 'nothing'],
      ['batched', facts.batching.t === 'safe' ? 'yes' : `no: ${facts.batching.reason}`],
      ...Object.entries(facts.labels).map(([output, labels]) => [`classes of ${output}`, labels.join(', ')]),
      ...Object.entries(facts.metadata).map(([key, value]) => [key, value]),
    );
    process.stdout.write(`${table.toString()}\n`);
  } catch (thrown) {
    reportError(thrown, options);
  }
}

async function quantize(path: string, options: QuantizeOptions): Promise<void> {
  try {
    const report = await quantizeFile(path, options);
    if (options.json) printJson(report);
    else printReport(report, options);
    if (!report.passed) process.exitCode = 1;
  } catch (thrown) {
    reportError(thrown, options);
  }
}

function printReport(report: QuantizeReport, options: QuantizeOptions): void {
  const table = new Table();
  table.push(
    ['form', report.form],
    ['size', `${report.bytes} → ${report.quantizedBytes} bytes (${report.sizeRatio.toFixed(3)})`],
    ...report.speed.map(({ rows, us, quantizedUs, times }) => [
      `a run of ${rows}`,
      `${us.toFixed(0)} → ${quantizedUs.toFixed(0)} µs (${times.toFixed(2)} × as fast)`,
    ]),
    ['a row depends on its batch by', `${report.batchVariance.original} → ${report.batchVariance.quantized}`],
    ...report.outputs.map((output) => [`output ${output.output}`, describe(output)]),
    ...report.layers.map(({ node, weightValues, decision, sqnrDb }) => [
      `layer ${node}`,
      `${decision} (${weightValues} weights${sqnrDb === undefined ? '' : `, ${sqnrDb.toFixed(1)} dB alone`})`,
    ]),
  );
  process.stdout.write(`${table.toString()}\n`);
  if (report.passed) process.stdout.write(`passed over ${report.rows} rows: ${options.out}\n`);
  else process.stderr.write(`refused, nothing written:\n${report.problems.map((one) => `  ${one}\n`).join('')}`);
}

function describe({ sqnrDb, maxDifference, agreement }: QuantizeReport['outputs'][number]): string {
  const parts = [];
  if (sqnrDb !== undefined) parts.push(`${sqnrDb.toFixed(1)} dB, at most ${maxDifference?.toPrecision(3)} apart`);
  if (agreement)
    parts.push(
      `same label ${agreement.same} of ${agreement.rows} (${(agreement.lowerBound * 100).toFixed(2)} % proved)`,
    );
  return parts.join('; ');
}
