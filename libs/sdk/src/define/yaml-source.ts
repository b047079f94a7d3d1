import { definitions } from '@millrace/contracts';
import { z } from 'zod';
import { batchToProto } from './batch.ts';
import { type ExpectationSpec, expectationsToProto } from './expectations.ts';
import { type FieldSpec, fieldToProto } from './fields.ts';
import { fieldsOfPayload, type PayloadSpec, payloadToProto } from './payload.ts';
import { changesToProto, compatibilityToProto, debeziumToProto } from './source.ts';
import { batchInput } from './yaml-batch.ts';
import { duration, durationText, metadata, schemaType } from './yaml-parts.ts';

const outliers = z
  .strictObject({
    action: z.enum(['flag', 'clip', 'null']),
    min: z.number().optional(),
    max: z.number().optional(),
    z_score: z.number().optional(),
    iqr: z.number().optional(),
  })
  .transform(({ z_score: zScore, ...rest }) => ({ ...rest, ...(zScore === undefined ? {} : { zScore }) }));
const field = z.union([
  schemaType,
  z
    .strictObject({
      type: schemaType,
      nullable: z.boolean().optional(),
      enum: z.array(z.string()).optional(),
      min: z.number().optional(),
      max: z.number().optional(),
      default: z.union([z.number(), z.string(), z.boolean()]).optional(),
      missing: z.enum(['reject', 'default', 'forward', 'mean', 'median']).optional(),
      outliers: outliers.optional(),
    })
    .transform(({ type, ...rest }) => ({ ...type, ...rest })),
]);

const name = z.string();
const rate = z.strictObject({ field: name, min_rate: z.number() });
/** The checks, each with how its content becomes that of an `ExpectationSpec`. */
const checks = {
  not_null: name.transform((notNull) => ({ notNull })),
  range: z
    .strictObject({ field: name, min: z.number().optional(), max: z.number().optional() })
    .transform((range) => ({ range })),
  set: z
    .strictObject({ field: name, values: z.array(z.union([z.string(), z.number(), z.boolean()])) })
    .transform((set) => ({ set })),
  matches: z.strictObject({ field: name, pattern: z.string() }).transform((matches) => ({ matches })),
  unique: z.strictObject({ fields: z.array(name), window: durationText }).transform((unique) => ({ unique })),
  condition: z.string().transform((condition) => ({ condition })),
  completeness: rate.transform(({ field, min_rate: minRate }) => ({ completeness: { field, minRate } })),
  distinctness: rate.transform(({ field, min_rate: minRate }) => ({ distinctness: { field, minRate } })),
  volume: z
    .strictObject({
      min_rows: z.int().optional(),
      max_rows: z.int().optional(),
      min_ratio: z.number().optional(),
      max_ratio: z.number().optional(),
    })
    .transform((volume) => ({
      volume: {
        minRows: volume.min_rows,
        maxRows: volume.max_rows,
        minRatio: volume.min_ratio,
        maxRatio: volume.max_ratio,
      },
    })),
  freshness: durationText.transform((freshness) => ({ freshness })),
  distribution: z
    .strictObject({
      field: name,
      metric: z.enum(['psi', 'ks']).optional(),
      max: z.number().optional(),
      alpha: z.number().optional(),
      edges: z.array(z.number()).optional(),
      categories: z.array(z.string()).optional(),
      counts: z.array(z.number()).optional(),
      values: z.array(z.number()).optional(),
    })
    .transform((distribution) => ({ distribution })),
  quantile: z
    .strictObject({ field: name, q: z.number(), min: z.number().optional(), max: z.number().optional() })
    .transform((quantile) => ({ quantile })),
} as const;
const checkNames = Object.keys(checks).join(', ');

export const expectation = z
  .strictObject({
    severity: z.enum(['warn', 'quarantine', 'block']).optional(),
    interval: durationText.optional(),
    resume_after: durationText.optional(),
    per_batch: z.union([z.literal(true), z.strictObject({ min_rows: z.int().optional() })]).optional(),
    description: z.string().optional(),
    ...(Object.fromEntries(Object.entries(checks).map(([key, schema]) => [key, schema.optional()])) as {
      [K in keyof typeof checks]: z.ZodOptional<(typeof checks)[K]>;
    }),
  })
  .transform((spec, context): ExpectationSpec => {
    const { severity, interval, resume_after: resumeAfter, per_batch: perBatch, description, ...given } = spec;
    const [check, ...more] = Object.values(given).filter((each) => each !== undefined);
    if (check === undefined || more.length > 0) {
      context.addIssue({ code: 'custom', message: `give exactly one check: ${checkNames}` });
      return z.NEVER;
    }
    return {
      ...(check as ExpectationSpec),
      ...(severity === undefined ? {} : { severity }),
      ...(interval === undefined ? {} : { interval }),
      ...(resumeAfter === undefined ? {} : { resumeAfter }),
      ...(perBatch === undefined ? {} : { perBatch: perBatch === true || perBatchOf(perBatch) }),
      ...(description === undefined ? {} : { description }),
    };
  });

function perBatchOf({ min_rows: minRows }: { readonly min_rows?: number | undefined }): { readonly minRows?: number } {
  return minRows === undefined ? {} : { minRows };
}

const payload = z
  .union([
    z.literal('json'),
    z.strictObject({
      avro: z.union([z.string(), z.record(z.string(), z.unknown())]),
      confluent_id: z.int().positive().optional(),
    }),
    z.strictObject({ protobuf: z.string(), message: z.string() }),
  ])
  .transform((given): PayloadSpec => {
    if (given === 'json' || 'protobuf' in given) return given;
    const { avro, confluent_id: confluentId } = given;
    return { avro, ...(confluentId === undefined ? {} : { confluentId }) };
  });

export const sourceDocument = z.strictObject({
  kind: z.literal('source'),
  ...metadata,
  fields: z.record(z.string(), field).optional(),
  payload: payload.optional(),
  event_time: z.string().optional(),
  key: z.string().optional(),
  extra_fields: z.enum(['reject', 'ignore']).optional(),
  max_future_skew: duration.optional(),
  max_lateness: duration.optional(),
  partitions: z.int().optional(),
  batch: z.record(z.string(), batchInput).optional(),
  expectations: z.record(z.string(), expectation).optional(),
  changes: z.enum(['append', 'upsert']).optional(),
  debezium: z.strictObject({ id: z.array(z.string()) }).optional(),
  compatibility: z
    .enum(['none', 'backward', 'backward_transitive', 'forward', 'forward_transitive', 'full', 'full_transitive'])
    .optional(),
});

/** `folder`: where the files of a payload's schema are looked for. */
export function sourceSpec(given: z.infer<typeof sourceDocument>, folder: string): definitions.Source {
  const schema = payloadToProto(given.payload, folder);
  return {
    fields: given.fields
      ? Object.entries(given.fields).map(([fieldName, spec]) => fieldToProto(fieldName, spec as FieldSpec))
      : fieldsOfPayload(given.name, schema, given.event_time ?? ''),
    payload: schema,
    eventTimeField: given.event_time ?? '',
    keyField: given.key ?? '',
    extraFields: given.extra_fields === 'ignore' ? definitions.ExtraFields.IGNORE : definitions.ExtraFields.REJECT,
    maxFutureSkewUs: given.max_future_skew ?? 0n,
    maxLatenessUs: given.max_lateness ?? 0n,
    partitions: given.partitions ?? 0,
    expectations: expectationsToProto(given.expectations),
    compatibility: compatibilityToProto(given.compatibility),
    retiredFields: [],
    changes: changesToProto(given.changes),
    debezium: debeziumToProto(given.debezium),
    batchInputs: batchToProto(given.batch),
  };
}
