import { z } from 'zod';
import { type BatchInputSpec, changePolicies, timeFormats } from './batch.ts';
import { durationText } from './yaml-parts.ts';

const names = <K extends string>(table: Readonly<Record<K, unknown>>) => Object.keys(table) as [K, ...K[]];

/** One of `batch:` of a source. */
export const batchInput = z
  .strictObject({
    location: z.string().optional(),
    query: z.string().optional(),
    schedule: z.string().optional(),
    format: z.enum(['csv', 'ndjson', 'json', 'parquet', 'arrow', 'avro']).optional(),
    columns: z.record(z.string(), z.string()).optional(),
    id: z.union([z.string(), z.array(z.string())]).optional(),
    time: z.string().optional(),
    operation: z.string().optional(),
    time_format: z.enum(names(timeFormats)).optional(),
    nulls: z.array(z.string()).optional(),
    delimiter: z.string().optional(),
    encoding: z.enum(['utf8', 'latin1']).optional(),
    when_changed: z.enum(names(changePolicies)).optional(),
    watermark: z.string().optional(),
    overlap: durationText.optional(),
  })
  .transform(({ time_format: timeFormat, when_changed: whenChanged, ...rest }): BatchInputSpec => {
    const given = { ...rest, timeFormat, whenChanged };
    return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
  });
