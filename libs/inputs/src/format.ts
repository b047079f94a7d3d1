import { MeshError } from '@millrace/kernel';

export const formats = ['csv', 'ndjson', 'json', 'parquet', 'arrow', 'avro'] as const;
export type Format = (typeof formats)[number];
export type Compression = 'none' | 'gzip' | 'zstd';

export interface FileFormat {
  readonly format: Format;
  readonly compression: Compression;
}

const byExtension: Readonly<Record<string, Format>> = {
  csv: 'csv',
  tsv: 'csv',
  tab: 'csv',
  txt: 'csv',
  ndjson: 'ndjson',
  jsonl: 'ndjson',
  json: 'json',
  parquet: 'parquet',
  pq: 'parquet',
  arrow: 'arrow',
  arrows: 'arrow',
  feather: 'arrow',
  ipc: 'arrow',
  avro: 'avro',
};
const compressions: Readonly<Record<string, Compression>> = { gz: 'gzip', gzip: 'gzip', zst: 'zstd', zstd: 'zstd' };

/** The format of a file by its name, or the one that is asked for; INVALID_ARGUMENT when neither says. */
export function formatOf(name: string, asked = ''): FileFormat {
  const parts = name
    .replace(/[?#].*$/, '')
    .toLowerCase()
    .split('.');
  const compression = compressions[parts.at(-1) ?? ''] ?? 'none';
  if (compression !== 'none') parts.pop();
  const found = asked === '' ? byExtension[parts.at(-1) ?? ''] : formats.find((format) => format === asked);
  if (found === undefined) {
    const what = asked === '' ? `the name "${name}" does not say its format` : `"${asked}" is not a format`;
    throw new MeshError('INVALID_ARGUMENT', `${what}; name one of ${formats.join(', ')}`, { name, format: asked });
  }
  if (compression !== 'none' && (found === 'parquet' || found === 'arrow' || found === 'avro')) {
    throw new MeshError(
      'INVALID_ARGUMENT',
      `"${name}" is ${found} inside ${compression}; unpack it first: ${found} compresses by itself`,
      { name },
    );
  }
  return { format: found, compression };
}

/** Whether a folder's file is one of data; others are passed over. */
export function isDataFile(name: string): boolean {
  const parts = name.toLowerCase().split('.');
  if (compressions[parts.at(-1) ?? ''] !== undefined) parts.pop();
  return parts.length > 1 && byExtension[parts.at(-1) ?? ''] !== undefined && !/^[._]/.test(parts[0] || '.');
}
