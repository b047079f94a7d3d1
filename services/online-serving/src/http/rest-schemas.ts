import { serving } from '@millrace/contracts';
import { z } from 'zod';

/** What REST takes and answers, once: requests are parsed by it and /openapi.json is made of it. */

const timeSchema = z
  .union([z.string(), z.int()])
  .describe('RFC 3339 to the microsecond, or microseconds since 1970.')
  .meta({ examples: ['2001-03-01T12:00:00Z'] });
const keyValue = z
  .union([z.string(), z.number(), z.boolean(), z.null()])
  .describe('A value of the join key; not null.');

const requestRow = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean(), z.null()]).describe('A value of the request field.'),
);
export type RequestRow = z.output<typeof requestRow>;

const readOptions = {
  allow_partial: z
    .boolean()
    .default(false)
    .describe('Answers what is ready at the deadline and marks the rest UNAVAILABLE, rather than failing.'),
  // people want the value; a program that wants speed says so
  allow_history: z
    .boolean()
    .default(true)
    .describe(
      'Reads values whose row starts after the read time from history, which takes longer; else they are OUT_OF_ROW.',
    ),
  int64_as: z
    .enum(['number', 'string'])
    .default('number')
    .describe('How INT64 and TIMESTAMP values are written: as numbers (text beyond 2^53), or all as text.'),
};

export const readBody = z.strictObject({
  entities: z
    .array(z.record(z.string(), keyValue))
    .default([])
    .describe('The join keys of each row; at most 10,000 rows. The answer has their order.')
    .meta({ examples: [[{ origin: 'ORD', destination: 'ATL' }]] }),
  request_data: z
    .union([requestRow, z.array(requestRow)])
    .default([])
    .describe('The request fields that the feature service declares: an object for each row, or one for all of them.')
    .meta({ examples: [{ distance: 581 }] }),
  version: z.string().default('').describe("The feature service's version; the current one when it is left out."),
  as_of: z
    .union([timeSchema, z.array(timeSchema)])
    .optional()
    .describe("The read time, or one for each row; the server's clock when it is left out."),
  ...readOptions,
});
export type ReadBody = z.output<typeof readBody>;

const flag = z.enum(['true', 'false']);
/** A read of one row; every other parameter is a join key or a request field. */
export const readQuery = z.object({
  as_of: z.string().optional().describe("RFC 3339 or microseconds since 1970; the server's clock when it is left out."),
  allow_partial: flag.default('false').describe(readOptions.allow_partial.description ?? ''),
  allow_history: flag.default('true').describe(readOptions.allow_history.description ?? ''),
  int64_as: readOptions.int64_as,
});

export const statusName = z
  .enum(Object.keys(serving.ValueStatus) as [string, ...string[]])
  .describe(
    'PRESENT; NULL: the entity is known, the value is null; NOT_FOUND: no such entity; STALE: older than its max_age; DEFAULTED; UNAVAILABLE: the store did not answer in time; OUT_OF_ROW: before what the row holds.',
  );

const scalar = z.union([z.number(), z.string(), z.boolean()]);
const value = z.object({
  value: z
    .union([scalar, z.array(scalar), z.null()])
    .describe('A list of a feature with a type such as INT64[]; null unless the status has a value.'),
  status: statusName,
  age_ms: z.number().nullable().describe('The read time less the last event time of the row; null without a row.'),
});

export const readAnswer = z.object({
  feature_service: z.string(),
  version: z.string(),
  rows: z.array(
    z.object({
      as_of: z.string().describe('The read time.'),
      features: z.record(z.string(), value).describe("By name, in the feature service's order."),
    }),
  ),
});

export const featureService = z.object({
  name: z.string(),
  version: z.string(),
  join_keys: z.array(z.object({ name: z.string(), type: z.string() })),
  request_fields: z
    .array(z.object({ name: z.string(), type: z.string(), nullable: z.boolean() }))
    .describe('What a read brings in `request_data`.'),
  features: z.array(
    z.object({
      name: z.string(),
      type: z.string(),
      view: z.string().describe('Empty for a feature that is computed from several views, or from none.'),
      view_version: z.string(),
      max_age_ms: z.number().nullable().describe('Null: never stale.'),
    }),
  ),
});

export const featureServices = z.object({ feature_services: z.array(featureService) });

export const failure = z
  .object({
    error: z.object({
      reason: z.string().describe('From a closed list; programs look at this.'),
      message: z.string().describe('What is wrong and what to do, for people.'),
      metadata: z.record(z.string(), z.string()).describe('Every value that the message names.'),
    }),
  })
  .describe('Why there is no answer.');

export const health = z.object({ status: z.enum(['live', 'ready', 'not_ready']) });

/** A schema as JSON Schema 2020-12, which is what OpenAPI 3.1 takes; `io` says whose side: a request may leave out what has a default. */
export function jsonSchema(schema: z.ZodType, io: 'input' | 'output' = 'output'): Record<string, unknown> {
  const { $schema: _, ...own } = z.toJSONSchema(schema, { io });
  return own;
}

/** A failure, by its name in the description. */
export const failed = { $ref: 'Failure#' };
