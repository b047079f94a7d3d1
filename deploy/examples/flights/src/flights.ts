import { existsSync } from 'node:fs';
import { findPackageJSON } from 'node:module';
import { dirname, join } from 'node:path';
import { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';

/** One US flight of 2001-01-01 to 2001-07-01. */
export interface Flight {
  /** `f<row>`: the row's number in the data set. */
  readonly flight: string;
  readonly scheduledUs: number;
  readonly delayMinutes: number;
  readonly distanceMiles: number;
  readonly origin: string;
  readonly destination: string;
}

export const firstDayUs = Date.UTC(2001, 0, 1) * 1000;
export const dayUs = 86_400_000_000;

interface Row {
  readonly date: Date;
  readonly delay: bigint;
  readonly distance: bigint;
  readonly origin: string;
  readonly destination: string;
}

/** `flights-3m.parquet` of the npm package `vega-datasets`. */
export function flightsFile(): string {
  const manifest = findPackageJSON('vega-datasets', import.meta.url);
  const file = manifest && join(dirname(manifest), 'data', 'flights-3m.parquet');
  if (!file || !existsSync(file)) throw new Error('the npm package "vega-datasets" is not installed; run "npm ci"');
  return file;
}

/** The flights scheduled in `[fromUs, toUs)`, by scheduled time; one row group in memory at a time. */
export async function* readFlights(fromUs: number, toUs: number): AsyncGenerator<Flight> {
  const file = await asyncBufferFromFile(flightsFile());
  const metadata = await parquetMetadataAsync(file);
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const dates = group.columns[0]?.meta_data?.statistics;
    const outside = dates !== undefined && (timeUs(dates.max_value) < fromUs || timeUs(dates.min_value) >= toUs);
    if (!outside) {
      const rows = (await parquetReadObjects({ file, metadata, compressors, rowStart, rowEnd })) as unknown as Row[];
      for (const [index, row] of rows.entries()) {
        const scheduledUs = row.date.getTime() * 1000;
        if (scheduledUs >= fromUs && scheduledUs < toUs) yield toFlight(row, scheduledUs, rowStart + index);
      }
    }
    rowStart = rowEnd;
  }
}

function toFlight(row: Row, scheduledUs: number, index: number): Flight {
  return {
    flight: `f${index}`,
    scheduledUs,
    delayMinutes: Number(row.delay),
    distanceMiles: Number(row.distance),
    origin: row.origin,
    destination: row.destination,
  };
}

/** A column statistic as microseconds; unknown kinds never exclude a row group. */
function timeUs(statistic: unknown): number {
  return statistic instanceof Date ? statistic.getTime() * 1000 : Number.NaN;
}
