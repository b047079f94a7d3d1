import type { definitions } from '@millrace/contracts';
import { MeshError } from '@millrace/kernel';
import { formatOf } from './format.ts';
import { openNdjson } from './formats/ndjson.ts';
import type { RowReader } from './rows.ts';

export type RowFormat = definitions.RowFormat;

/** Opens a local file, with the library of its format alone; `name` says its format where the options do not. MALFORMED_PAYLOAD when it is not what it says. */
export async function openRows(path: string, options: RowFormat, name: string = path): Promise<RowReader> {
  const { format, compression } = formatOf(name, options.format);
  const encoding = encodingOf(options.encoding);
  switch (format) {
    case 'csv':
      return (await import('./formats/csv.ts')).openCsv(path, compression, {
        delimiter: options.delimiter || tabOf(name),
        encoding,
      });
    case 'ndjson':
      return openNdjson(path, compression, encoding);
    case 'json':
      return (await import('./formats/json.ts')).openJson(path, compression, encoding);
    case 'parquet':
      return (await import('./formats/parquet.ts')).openParquet(path);
    case 'arrow':
      return (await import('./formats/arrow.ts')).openArrow(path);
    case 'avro':
      return (await import('./formats/avro.ts')).openAvro(path);
    default:
      return format satisfies never;
  }
}

function tabOf(name: string): string {
  return /\.(tsv|tab)(\.[a-z]+)?$/i.test(name) ? '\t' : '';
}

function encodingOf(encoding: string): 'utf8' | 'latin1' {
  if (encoding === '' || encoding === 'utf8') return 'utf8';
  if (encoding === 'latin1') return 'latin1';
  throw new MeshError('INVALID_ARGUMENT', `"${encoding}" is not an encoding; name utf8 or latin1`, { encoding });
}
