import { inferSchema, openRows, sourceYaml } from '@millrace/inputs';
import { fieldName } from '@millrace/kernel';
import { type CommonOptions, printJson, reportError } from './context.ts';
import { locateHere, withLocal } from './local-inputs.ts';
import { type FormatOptions, rowFormatOf } from './row-format.ts';

interface InferOptions extends CommonOptions, FormatOptions {
  readonly name?: string;
  /** Rows to look at. */
  readonly rows: number;
}

/** Prints a source definition for a file; needs no running mesh. */
export async function infer(location: string, options: InferOptions): Promise<void> {
  const interrupt = new AbortController();
  process.once('SIGINT', () => interrupt.abort());
  try {
    const [input] = await locateHere(location, interrupt.signal);
    if (input === undefined) return;
    const schema = await withLocal(input, interrupt.signal, async ({ path }) =>
      inferSchema(await openRows(path, rowFormatOf(options), input.name), options.rows),
    );
    if (options.json) printJson(schema);
    else process.stdout.write(sourceYaml(options.name ?? sourceName(input.name), schema, location));
  } catch (thrown) {
    reportError(thrown, options);
  }
}

/** `data/Seattle weather.csv.gz` → `seattle_weather`. */
function sourceName(file: string): string {
  return fieldName((file.split('/').at(-1) ?? file).replace(/\..*$/, ''));
}
